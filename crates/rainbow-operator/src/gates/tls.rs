//! Certificates that the servers of gates are checked against.

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::sync::{Arc, OnceLock};

use crate::messages;

/// Settings for servers whose certificates the usual authorities have signed.
static USUAL: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Returns the settings for servers whose certificates the given authorities have signed, or else the usual ones.
pub(super) fn config(ca: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    match ca {
        Some(ca) => trusting(own(ca)?),
        None => match USUAL.get() {
            Some(config) => Ok(Arc::clone(config)),
            None => {
                let config = trusting(usual())?;
                Ok(Arc::clone(USUAL.get_or_init(|| config)))
            }
        },
    }
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(messages::bad_authority)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Returns the authorities of the system. The operator's own image has none: there, those that Mozilla's browsers trust.
fn usual() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn own(ca: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(messages::bad_authority)?).map_err(messages::bad_authority)?;
    }
    if roots.is_empty() { Err(messages::NO_AUTHORITY.to_owned()) } else { Ok(roots) }
}
