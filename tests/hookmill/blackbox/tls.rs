//! The server behind TLS.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Output,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    PATIENCE,
    process::{Process, hookmill},
    raw::{Raw, exchange, statuses},
    server::Home,
    until,
};

/// Two certificates of `localhost`, each signed by itself, and their keys, which guard nothing.
const FIRST: [&str; 2] = [include_str!("tls/first.cert.pem"), include_str!("tls/first.key.pem")];
const SECOND: [&str; 2] = [include_str!("tls/second.cert.pem"), include_str!("tls/second.key.pem")];

struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(home: &Home, content: [&str; 2]) -> Self {
        let pair = Self { cert: home.path().join("cert.pem"), key: home.path().join("key.pem") };
        pair.write(content);
        pair
    }

    /// Puts other files in their places at once, as those who renew certificates do.
    fn write(&self, [cert, key]: [&str; 2]) {
        for (path, text) in [(&self.cert, cert), (&self.key, key)] {
            let fresh = path.with_extension("new");
            fs::write(&fresh, text).unwrap();
            fs::rename(&fresh, path).unwrap();
        }
    }

    fn serve(&self, home: &Home) -> (Process, String) {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        let process = home.launch(&["--tls-cert", cert, "--tls-key", key]);
        let line = process.line_with("Hookmill listens on ");
        let addr = line.rsplit_once("https://").unwrap().1.to_owned();
        (process, addr)
    }
}

/// One request, trusting this certificate alone.
fn get(addr: &str, path: &str, trusted: &str) -> std::io::Result<(String, Option<Vec<u8>>)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(addr)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, tcp);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // Who sends what is no request is told so, and no more.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !bytes.is_empty() => {}
        read => drop(read?),
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((text, stream.conn.alpn_protocol().map(<[u8]>::to_vec)))
}

#[test]
fn the_server_and_its_commands_speak_tls() {
    let home = Home::new();
    let pair = Pair::new(&home, FIRST);
    let (_process, addr) = pair.serve(&home);
    let (text, protocol) = get(&addr, "/healthz", FIRST[0]).unwrap();
    assert_eq!(statuses(&text), [200]);
    assert!(text.contains("strict-transport-security: max-age="), "{text}");
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));
    assert!(get(&addr, "/healthz", SECOND[0]).is_err());
    let (text, _) = get(&addr, "/ no request", FIRST[0]).unwrap();
    assert_eq!(statuses(&text), [400]);
    assert!(
        text.contains("application/problem+json") && text.contains("strict-transport-security: max-age="),
        "{text}"
    );

    let (url, data) = (format!("https://{}", addr.replace("127.0.0.1", "localhost")), home.data());
    let publish = |more: &[&str]| -> Output {
        let args = ["publish", "a.b", "--url", &url, "--data-dir", data.to_str().unwrap()];
        hookmill(&[&args[..], more].concat()).output().unwrap()
    };
    let output = publish(&["--ca", pair.cert.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(publish(&[]).status.code(), Some(3), "nobody vouches for the server");
    assert_eq!(publish(&["--ca", "/nowhere.pem"]).status.code(), Some(1));

    // Those who speak without TLS, or say nothing, lose their connection.
    assert!(statuses(&exchange(&addr, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")).is_empty());
    assert_eq!(Raw::connect(&addr).rest(), "");
    get(&addr, "/healthz", FIRST[0]).unwrap();
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let home = Home::new();
    let pair = Pair::new(&home, FIRST);
    let (process, addr) = pair.serve(&home);
    get(&addr, "/healthz", FIRST[0]).unwrap();
    pair.write(SECOND);
    until("the new certificate is in force", PATIENCE, || get(&addr, "/healthz", SECOND[0]).ok());
    for broken in [[SECOND[0], FIRST[1]], ["", SECOND[1]], [SECOND[0], "-----BEGIN PRIVATE KEY-----\nAA==\n"]] {
        let refused = || process.log().matches("the old certificate stays").count();
        let before = refused();
        pair.write(broken);
        process.hang_up();
        until("the broken pair is refused", PATIENCE, || (refused() > before).then_some(()));
        get(&addr, "/healthz", SECOND[0]).unwrap();
    }
    pair.write(FIRST);
    process.hang_up();
    until("the first certificate is back", PATIENCE, || get(&addr, "/healthz", FIRST[0]).ok());
}

#[test]
fn a_server_without_its_certificate_does_not_start() {
    let home = Home::new();
    let pair = Pair::new(&home, [FIRST[0], SECOND[1]]);
    let data = home.data();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let serve = |more: &[&str]| {
        let output = hookmill(&[&args[..], more].concat()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (cert, key) = (pair.cert.to_str().unwrap(), pair.key.to_str().unwrap());
    let (code, said) = serve(&["--tls-cert", cert, "--tls-key", key]);
    assert!(code == Some(1) && said.contains(cert), "{said}");
    let (code, said) = serve(&["--tls-cert", cert, "--tls-key", "/nowhere.pem"]);
    assert!(code == Some(1) && said.contains("/nowhere.pem"), "{said}");
    assert_eq!(serve(&["--tls-cert", cert]).0, Some(2));
    assert!(!home.data().exists(), "the pipeline was started");
}

#[test]
fn a_server_that_others_reach_without_tls_warns_once() {
    let home = Home::new();
    let data = home.data();
    let serve = |listen: &str, name: &str| {
        let args = ["serve", "--listen", listen, "--data-dir", data.to_str().unwrap()];
        let process = Process::start(&args, &home.path().join(name));
        process.line_with("Hookmill listens on ");
        process.log().matches("without TLS").count()
    };
    assert_eq!(serve("0.0.0.0:0", "open.log"), 1);
    assert_eq!(serve("127.0.0.1:0", "closed.log"), 0);
}
