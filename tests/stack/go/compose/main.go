// Reads a compose file as Docker Compose does, by the schema of the Compose Specification, and prints what it means as
// JSON. Paths are made absolute; nothing is taken from the environment.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	model, err := options.LoadModel(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(model); err != nil {
		log.Fatal(err)
	}
}
