//! Makes certificates and kubeconfigs of one plane.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// Users that have a certificate: file, common name, organisation.
const USERS: [(&str, &str, &str); 6] = [
    ("apiserver", "kube-apiserver", ""),
    ("admin", "admin", "system:masters"),
    ("manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("nodes", "testbed-nodes", "system:masters"),
    ("bed", "testbed", "system:masters"),
];

/// Writes the keys and certificates of a plane and its users.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let issuer = authority(folder, "ca")?;
    for (file, name, organisation) in USERS {
        sign(folder, &issuer, file, name, organisation)?;
    }
    let front = authority(folder, "front-proxy-ca")?;
    sign(folder, &front, "front-proxy-client", "front-proxy-client", "")?;
    let tokens = KeyPair::generate()?;
    std::fs::write(folder.join("sa.key"), tokens.serialize_pem())?;
    std::fs::write(folder.join("sa.pub"), tokens.public_key_pem())?;
    Ok(())
}

fn authority(folder: &Path, name: &str) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    std::fs::write(folder.join(format!("{name}.crt")), params.self_signed(&key)?.pem())?;
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(Issuer::new(params, key))
}

fn sign(folder: &Path, issuer: &Issuer<'_, KeyPair>, file: &str, name: &str, organisation: &str) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1"];
    let mut params = CertificateParams::new(hosts.map(str::to_owned))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if !organisation.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    std::fs::write(folder.join(format!("{file}.crt")), params.signed_by(&key, issuer)?.pem())?;
    std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
    Ok(())
}

/// Writes a kubeconfig that embeds its certificates and key, so that it works from any folder.
pub(crate) fn kubeconfig(folder: &Path, plane: &str, user: &str, port: u16) -> anyhow::Result<()> {
    use base64::Engine;
    let data = |file: String| -> anyhow::Result<String> {
        Ok(base64::engine::general_purpose::STANDARD.encode(std::fs::read(folder.join(file))?))
    };
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {plane}\n\
         contexts: [{{name: {plane}, context: {{cluster: {plane}, user: {user}}}}}]\n\
         clusters: [{{name: {plane}, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority-data: {}}}}}]\n\
         users: [{{name: {user}, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
        data("ca.crt".to_owned())?,
        data(format!("{user}.crt"))?,
        data(format!("{user}.key"))?,
    );
    std::fs::write(folder.join(format!("{user}.kubeconfig")), text)?;
    Ok(())
}
