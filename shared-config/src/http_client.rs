//! HTTP clients of our own parts: no redirects, no proxy that could listen, and no more of TLS than the address needs.

use url::Url;

/// A client for one address. The system's root certificates are read only for `https`: that takes longer than everything
/// else a sidecar does at its start.
///
/// A proxy that the environment names (`HTTPS_PROXY`) is used for `https` alone, where it only carries bytes. Over plain
/// `http`, as parts talk inside an installation, it would read their tokens and could answer with keys of its own.
pub fn http_client(url: &Url) -> reqwest::ClientBuilder {
    crate::crypto::install_provider();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "https" { client } else { client.tls_built_in_root_certs(false).no_proxy() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        process::Command,
        time::{Duration, Instant},
    };

    use super::*;

    /// Set in the process that asks, which is this test once more: a process cannot safely change its own environment.
    const ASK: &str = "KYROS_TEST_ASK";

    #[tokio::test]
    async fn no_proxy_of_the_environment_hears_what_is_sent_in_plain_text() {
        if let Ok(url) = std::env::var(ASK) {
            let url: Url = url.parse().unwrap();
            let client = http_client(&url).build().unwrap();
            assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "directly");
            return;
        }
        let [server, proxy] = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let name = "http_client::tests::no_proxy_of_the_environment_hears_what_is_sent_in_plain_text";
        let mut asking = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(ASK, address(&server))
            .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, address(&proxy))))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .env_remove("REQUEST_METHOD")
            .spawn()
            .unwrap();
        // Whoever is asked answers with its name, so that a wrong one fails the process that asks instead of this one's patience.
        let answering = [(server, "directly"), (proxy, "by proxy")].map(|(listener, answer)| {
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
            })
        });
        assert!(asking.wait().unwrap().success());
        let [server, proxy] = answering;
        let ended = Instant::now();
        while !server.is_finished() {
            assert!(ended.elapsed() < Duration::from_secs(5), "no test of that name asked");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!proxy.is_finished());
    }
}
