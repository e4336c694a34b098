/* Makes calls fail on files whose path holds FAULT_PATH, with FAULT_ERRNO, once FAULT_AFTER of them went well:
   writes (FAULT_CALL=write) or syncs (FAULT_CALL=sync). Loaded before the C library by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *call, int file) {
	static long done;
	const char *wanted = getenv("FAULT_CALL"), *path = getenv("FAULT_PATH");
	if (!wanted || !path || strcmp(wanted, call)) return 0;
	char link[64], name[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t length = readlink(link, name, sizeof name - 1);
	if (length < 0) return 0;
	name[length] = 0;
	if (!strstr(name, path)) return 0;
	if (__sync_fetch_and_add(&done, 1) < atol(getenv("FAULT_AFTER"))) return 0;
	errno = atoi(getenv("FAULT_ERRNO"));
	return 1;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t count) {
	REAL(ssize_t, write, int, const void *, size_t);
	return fails("write", file) ? -1 : real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
	REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
	return fails("write", file) ? -1 : real(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
	REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
	return fails("write", file) ? -1 : real(file, bytes, count, at);
}

int fsync(int file) {
	REAL(int, fsync, int);
	return fails("sync", file) ? -1 : real(file);
}

int fdatasync(int file) {
	REAL(int, fdatasync, int);
	return fails("sync", file) ? -1 : real(file);
}
