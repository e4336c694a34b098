//! The certificate that is shown to those who connect.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_rustls::TlsAcceptor;

use crate::export::{TlsError, certificates};

pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(certificate)?;
    let read = |source| TlsError::Read { what: "a private key", path: key.to_owned(), source };
    let private = PrivateKeyDer::from_pem_file(key).map_err(read)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|source| TlsError::Setup { source })?.with_no_client_auth();
    let config = builder.with_single_cert(chain, private).map_err(|source| TlsError::Identity {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
