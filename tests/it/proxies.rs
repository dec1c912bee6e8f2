//! Sources and stores behind a proxy: which requests go through it, by the variables of the environment.

use std::collections::BTreeMap;
use std::process::Output;

use crate::support::buckets::InProcess;
use crate::support::proxy::Proxy;
use crate::support::s3s::Dialect;
use crate::support::tls::TlsFront;
use crate::support::vault::{Place, Vault, WINDOWS, text};

/// A source and a store that only a proxy finds, as `workspace.test` and `store.test`, or both on loopback.
struct Remote {
    vault: Vault,
    source: TlsFront,
    store: TlsFront,
    proxy: Proxy,
    _bucket: InProcess,
}

impl Remote {
    async fn at(source: &str, store: &str) -> Self {
        let bucket = InProcess::start(Dialect::Obs).await;
        let store = TlsFront::of_host(&bucket.server.endpoint(), store).await;
        let settings = bucket.settings();
        let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
        let source = TlsFront::of_host(&vault.sim.endpoint(), source).await;
        std::fs::write(vault.path("source.pem"), &source.ca_pem).unwrap();
        std::fs::write(vault.path("store.pem"), &store.ca_pem).unwrap();
        let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
        let ca_file = |name: &str| format!("ca_file = \"{}\"", vault.path(name).display());
        let config = config
            .replace(&vault.sim.endpoint(), &source.endpoint())
            .replace("requests_per_second", &format!("{}\nrequests_per_second", ca_file("source.pem")))
            .replace(&bucket.server.endpoint(), &store.endpoint())
            .replace("path_style = true", &format!("path_style = true\n{}", ca_file("store.pem")));
        std::fs::write(vault.path("config.toml"), config).unwrap();
        let hosts = [&source, &store].map(|front| (front.authority(), front.address()));
        let proxy = Proxy::to(BTreeMap::from(hosts)).await;
        Self { vault, source, store, proxy, _bucket: bucket }
    }

    /// Runs `once` with these variables, and none that this process has.
    async fn once(&self, variables: &[(&str, &str)]) -> Output {
        self.run(&["once"], variables).await
    }

    /// Runs the program with these variables, and none that this process has.
    async fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.vault.command(arguments);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.envs(variables.iter().copied());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn source_and_store_are_asked_through_the_proxy_that_the_environment_names() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let remote = Remote::at("workspace.test", "store.test").await;
        let output = remote.once(&[(variable, &remote.proxy.url())]).await;
        assert!(output.status.success(), "{variable}: {}", text(&output.stderr));
        let asked = remote.proxy.asked();
        for front in [&remote.source, &remote.store] {
            let tunnel = format!("CONNECT {} HTTP/1.1", front.authority());
            assert!(asked.contains(&tunnel), "{variable}: {tunnel} is not in {asked:?}");
        }
        assert_eq!(remote.vault.spooled().len(), 0);
        assert!(text(&output.stderr).matches("window archived").count() >= WINDOWS, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_no_proxy_names_is_looked_up_here_and_named_when_it_is_not_found() {
    let remote = Remote::at("workspace.test", "store.test").await;
    let proxy = remote.proxy.url();
    let output = remote.once(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", "store.test")]).await;
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("the host name store.test cannot be looked up"), "{said}");
    assert!(!remote.proxy.asked().iter().any(|line| line.contains("store.test")));
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_asked_directly_whatever_the_environment_says() {
    let remote = Remote::at("127.0.0.1", "127.0.0.1").await;
    let proxy = remote.proxy.url();
    let output = remote.once(&[("HTTPS_PROXY", &proxy), ("HTTP_PROXY", &proxy), ("ALL_PROXY", &proxy)]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(remote.proxy.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_names_no_proxy_is_refused_by_its_name_and_its_password_is_not_shown() {
    let remote = Remote::at("workspace.test", "store.test").await;
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
        for value in [
            "http://user:s3cret@[gate",
            "http//user:s3cret@gate",
            "ftp://user:s3cret@gate:21",
            "socks5://s3cret@gate:1",
            "a b",
        ] {
            for arguments in [&["once"][..], &["check", "--user", "root"]] {
                let output = remote.run(arguments, &[(variable, value)]).await;
                let told = text(&output.stderr) + &text(&output.stdout);
                let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(output.status.code(), Some(2), "{variable}={value}: {told}");
                assert!(told.contains(&format!("environment variable {variable}: ")), "{told}");
                assert!(told.contains("http://HOST:PORT") && !told.contains("s3cret"), "{told}");
            }
            // Whoever only looks asks nobody.
            let output = remote.run(&["plan"], &[(variable, value)]).await;
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        }
    }
    let output = remote.run(&["plan"], &[("HTTPS_PROXY", "")]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_is_named_with_its_variable_for_source_and_store() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for variable in ["HTTPS_PROXY", "all_proxy"] {
        let address = format!("http://user:s3cret@{gone}");
        let remote = Remote::at("workspace.test", "store.test").await;
        let store = remote.once(&[(variable, &address)]).await;
        let source = remote.run(&["check", "--json", "--user", "root"], &[(variable, &address)]).await;
        for (host, told) in [("store.test", text(&store.stderr)), ("workspace.test", text(&source.stdout))] {
            let line = told.lines().find(|line| line.contains(host) && line.contains(&gone.to_string()));
            assert!(line.is_some_and(|line| line.contains("through the proxy")), "{host}: {told}");
            assert!(told.contains(&format!("correct {variable}")), "{host}: {told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}
