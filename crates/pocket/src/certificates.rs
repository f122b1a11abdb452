//! Certificates of the cluster. The authority is kept as long as it is valid; the certificates of the server and of the
//! administrator are made at each start. The key that signs service accounts' tokens is kept, so that tokens outlive a restart.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use pocket_api::TokenKey;
use pocket_node::network::{API_IP, NODE_IP};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    Error,
    files::{self, Files},
};

/// Validity of certificates in years. The state of a development cluster does not live longer.
const YEARS: i32 = 10;
/// Remaining validity below which an authority is replaced at the start: a month.
const SPARE_SECONDS: i64 = 30 * 24 * 3600;

/// Certificate authority of the cluster.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificates and key of a client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// All three are PEM: the authority's certificate, the client's certificate, and the client's key.
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Certificates(error.to_string())
}

impl Authority {
    /// Reads the authority, or creates it if there is none that is still valid for long enough.
    pub(crate) fn open(files: &Files) -> Result<Self, Error> {
        let dir = files.certificates();
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&certificate_path), fs::read_to_string(&key_path))
            && is_good(&certificate)
        {
            let key = KeyPair::from_pem(&key).map_err(failed)?;
            let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(failed)?;
            return Ok(Self { certificate, issuer });
        }
        fs::create_dir_all(&dir).map_err(Error::file("make the directory", &dir))?;
        let mut params = params("rainbow-local-ca")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        files::write_private(&key_path, key.serialize_pem().as_bytes())?;
        files::write_private(&certificate_path, certificate.as_bytes())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Returns the authority's certificate as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// TLS for the API server, which asks clients for certificates but lets them come without.
    pub(crate) fn server(&self, address: Ipv4Addr) -> Result<Arc<ServerConfig>, Error> {
        let mut params = params("kube-apiserver")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .into_iter()
        .map(|name| name.try_into().map(SanType::DnsName).map_err(failed))
        .collect::<Result<_, _>>()?;
        params.subject_alt_names.extend(
            [Ipv4Addr::LOCALHOST, address, API_IP, NODE_IP].map(|address| SanType::IpAddress(IpAddr::V4(address))),
        );
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;

        let authority = CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(failed)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).map_err(failed)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(failed)?;
        let chain = vec![certificate.der().clone(), authority];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Returns the administrator's certificate.
    pub(crate) fn administrator(&self) -> Result<Client, Error> {
        let mut params = params("rainbow-admin")?;
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Client { authority: self.certificate.clone(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Returns whether a certificate is valid for longer than a cluster usually runs. The caller replaces one that is not.
fn is_good(certificate: &str) -> bool {
    let good_until = || {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    good_until().is_some_and(|end| end > jiff::Timestamp::now().as_second() + SPARE_SECONDS)
}

/// Returns the key that signs service accounts' tokens: the kept key, or a new one.
pub(crate) fn token_key(files: &Files) -> Result<TokenKey, Error> {
    let path = files.certificates().join("sa.key");
    let key = match fs::read_to_string(&path) {
        Ok(text) => KeyPair::from_pem(&text).map_err(failed)?,
        Err(_) => {
            let key = KeyPair::generate().map_err(failed)?;
            files::write_private(&path, key.serialize_pem().as_bytes())?;
            key
        }
    };
    TokenKey::from_pkcs8(&key.serialize_der()).map_err(failed)
}

fn params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let year = i32::from(jiff::Zoned::now().year());
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, ClientConnection, ServerConnection, pki_types::ServerName};

    use super::*;

    /// Makes a TLS handshake in memory.
    fn handshake(server: Arc<ServerConfig>, client: &Client, name: &str) -> Result<bool, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(client.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(server.peer_certificates().is_some())
    }

    #[test]
    fn certificates_fit_and_survive_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let first = Authority::open(&files).unwrap();
        let old = first.administrator().unwrap();
        let second = Authority::open(&files).unwrap();
        for name in ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"] {
            assert!(handshake(first.server(Ipv4Addr::LOCALHOST).unwrap(), &old, name).unwrap(), "{name}");
            assert!(
                handshake(second.server(Ipv4Addr::LOCALHOST).unwrap(), &old, name).unwrap(),
                "{name}, after a restart"
            );
        }
        assert!(handshake(first.server(Ipv4Addr::LOCALHOST).unwrap(), &old, "example.com").is_err());
        assert!(handshake(first.server([127, 9, 8, 7].into()).unwrap(), &old, "127.9.8.7").unwrap());

        let other = tempfile::tempdir().unwrap();
        let stranger = Authority::open(&Files::new(other.path())).unwrap().administrator().unwrap();
        let stranger = Client { authority: old.authority.clone(), ..stranger };
        assert!(
            handshake(first.server(Ipv4Addr::LOCALHOST).unwrap(), &stranger, "localhost").is_err(),
            "another cluster's administrator"
        );
    }

    #[test]
    fn certificates_that_have_ended() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let authority = Authority::open(&files).unwrap();
        let mut past = params("rainbow-admin").unwrap();
        past.not_before = date_time_ymd(2020, 1, 1);
        past.not_after = date_time_ymd(2021, 1, 1);
        past.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let ended = past.signed_by(&key, &authority.issuer).unwrap().pem();
        let client = Client { certificate: ended, key: key.serialize_pem(), ..authority.administrator().unwrap() };
        let error =
            handshake(authority.server(Ipv4Addr::LOCALHOST).unwrap(), &client, "localhost").unwrap_err().to_string();
        assert!(error.contains("expired"), "{error}");

        // An authority that has expired is replaced at the next start, with everything that it has signed.
        past.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let old = past.self_signed(&key).unwrap().pem();
        files::write_private(&files.certificates().join("ca.crt"), old.as_bytes()).unwrap();
        files::write_private(&files.certificates().join("ca.key"), key.serialize_pem().as_bytes()).unwrap();
        let renewed = Authority::open(&files).unwrap();
        assert!(renewed.certificate() != old && is_good(renewed.certificate()) && !is_good(&old) && !is_good("no"));
        assert!(
            handshake(renewed.server(Ipv4Addr::LOCALHOST).unwrap(), &renewed.administrator().unwrap(), "localhost")
                .unwrap()
        );
        assert_eq!(Authority::open(&files).unwrap().certificate(), renewed.certificate());
    }

    #[test]
    fn the_key_for_tokens_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        fs::create_dir_all(files.certificates()).unwrap();
        let first = format!("{:?}", token_key(&files).unwrap());
        assert_eq!(format!("{:?}", token_key(&files).unwrap()), first);
    }
}
