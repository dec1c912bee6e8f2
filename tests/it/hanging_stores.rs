//! A store that hangs harms no other, and is named while it hangs.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use connvault::app::clock_watch::{ClockWatch, Standing, Teller};
use connvault::domain::failure::Failure;
use connvault::domain::lock::Lock;
use connvault::domain::object_key::{KeyPrefix, ObjectKey};
use connvault::ports::clock::{AnswerWatch, Clock};
use connvault::ports::object_store::{
    Content, CreateOnly, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};
use connvault_sim::{Endpoint, Fault, Rule};

use futures_util::poll;
use futures_util::stream::BoxStream;
use jiff::SignedDuration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::clock::TestClock;
use crate::support::disk::Shown;
use crate::support::second::SecondStore;
use crate::support::vault::{Vault, WINDOWS, text};
use crate::support::watched::{Watched, blocking, get};

/// A store is silent for a minute before it is given up, so what follows from that takes longer.
const LONG: Duration = Duration::from_secs(150);

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < LONG, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn status(vault: &Vault) -> serde_json::Value {
    let output = vault.connvault(&["status", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)))
}

/// Windows of `stream` that are archived, as `status` says.
async fn archived(vault: &Vault, stream: &str) -> usize {
    let status = status(vault).await;
    let streams = status["streams"].as_array().unwrap();
    let archived = &streams.iter().find(|of| of["stream"] == stream).unwrap()["archived"];
    archived.as_u64().unwrap().try_into().unwrap()
}

/// Has the vault archive a stream called `second` in a store called `second`, which is `store`.
fn configure_second(vault: &Vault, store: &str) {
    let more = format!(
        "[stores.second]\n{store}\n[streams.second]\nsource = \"hq\"\nstore = \"second\"\nwindow = \"1d\"\n\
         timezone = \"UTC\"\nstart = \"{}\"\nsettle = \"0s\"\nrevisit = []\n",
        vault.start
    );
    let path = vault.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config + &more).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, and bindfs for a file system that can be frozen: run scripts/test"]
async fn a_directory_that_freezes_holds_up_its_own_stream_only_and_is_named_until_it_answers() {
    let vault = Vault::in_directory().await;
    let disk = Shown::mount(&vault.path("disk"), &vault.path("mounted"));
    configure_second(
        &vault,
        &format!("kind = \"directory\"\npath = \"{}\"", vault.path("mounted/archive").display()),
    );
    // The stores are proven and the logs open before anything comes that could be put there.
    vault.sim.faults().add(Rule::new(Fault::StallAfter { bytes: 0 }).on(Endpoint::Export));
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    until("the log is open", async || vault.path("mounted/archive/second/log").exists()).await;
    vault.until(|| vault.sim.request_count(Endpoint::Export) > 0).await;
    disk.freeze();
    vault.sim.faults().clear();

    let shown = async |path: &'static str| blocking(move || get(address, path)).await;
    until("the other stream is archived", async || archived(&vault, "logins").await == WINDOWS).await;
    until("the page names the store", async || shown("/readyz").await.1.contains("store second")).await;
    let (code, why) = shown("/readyz").await;
    let mounted = vault.path("mounted/archive").display().to_string();
    assert!(code == 503 && why.contains("no answer") && why.contains(&mounted), "{code} {why}");
    let words = text(&vault.connvault(&["status"]).await.stdout);
    assert!(words.contains("store second") && words.contains("no answer"), "{words}");
    assert!(shown("/").await.1.contains("held up"));
    assert_eq!(archived(&vault, "second").await, 0);

    disk.thaw();
    assert!(vault.connvault(&["retry"]).await.status.success());
    watched.daemon.wake();
    until("its stream is archived", async || archived(&vault, "second").await == WINDOWS).await;
    until("it is ready", async || shown("/readyz").await.0 == 200).await;
    watched.end();
    assert!(vault.connvault(&["verify"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_at_the_start_is_named_in_the_same_words_everywhere_while_it_is_asked() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::closed().await;
    second.configure(&vault);
    // Whoever connects waits: nobody takes the connection, and nobody says anything.
    let mut hangs = None;
    until("the port is given back", async || {
        hangs = TcpListener::bind(second.address).ok();
        hangs.is_some()
    })
    .await;
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    let shown = async |path: &'static str| blocking(move || get(address, path)).await;
    until("the page names it", async || shown("/readyz").await.1.contains("is still asked")).await;
    assert_eq!(archived(&vault, "logins").await, WINDOWS);
    let document = status(&vault).await;
    let hold = &document["holds"][0];
    let why = hold["failure"]["message"].as_str().unwrap();
    assert!(why.starts_with("store second: it has not answered for "), "{why}");
    assert_eq!((hold["resource"]["name"].as_str(), hold["failures"].as_u64()), (Some("second"), Some(1)));
    let (code, ready) = shown("/readyz").await;
    assert!(code == 503 && ready.contains(why), "{code} {ready}");
    assert!(shown("/").await.1.contains(why));
    let told = watched.event("not proven yet");
    assert!(told["message"].as_str().unwrap().ends_with(why), "{told}");

    drop(hangs);
    second.come_back().await;
    until("its stream is archived", async || {
        watched.daemon.wake();
        archived(&vault, "second").await == WINDOWS
    })
    .await;
    until("it is ready", async || shown("/readyz").await.0 == 200).await;
    watched.end();
}

/// Passes on what `server` is asked, until `word` is in it: that gets no answer. Says where it listens.
async fn silent_about(word: &'static str, server: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = async {
                    let mut asked = vec![0; 64 * 1024];
                    while let Ok(bytes @ 1..) = from_client.read(&mut asked).await {
                        if String::from_utf8_lossy(&asked[..bytes]).contains(word) {
                            std::future::pending::<()>().await;
                        }
                        to_server.write_all(&asked[..bytes]).await.unwrap();
                    }
                };
                tokio::select! {
                    () = up => {}
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_for_ever_keeps_no_other_stream_from_being_archived() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::open().await;
    second.address = silent_about("list-type=2", second.address).await;
    second.configure(&vault);
    let path = vault.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("[daemon]\n", "[daemon]\nconcurrency = 1\n")).unwrap();
    // The other stream has work for longer than the proof takes.
    vault.sim.faults().always(Fault::DelayFirstByte(Duration::from_secs(1)));
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    watched.event("ready");
    until("the other stream is archived", async || archived(&vault, "logins").await == WINDOWS).await;
    let document = status(&vault).await;
    let holds = document["holds"].as_array().unwrap();
    assert!(holds.is_empty(), "the log is given up already: {document}");
    let log = watched.end();
    assert!(log.contains("store proven") && log.matches("stream opened").count() == 1, "{log}");
}

/// A store that is asked for nothing but the time, and answers when it may.
struct Clockwork {
    host: &'static str,
    behind: SignedDuration,
    clock: TestClock,
    answers: Arc<dyn AnswerWatch>,
    may_answer: Notify,
    /// Held by each question that waits for its answer.
    open: Arc<()>,
}

impl Clockwork {
    /// One that `watch` may ask.
    fn asked_by(
        watch: &ClockWatch,
        clock: &TestClock,
        host: &'static str,
        behind: SignedDuration,
    ) -> Arc<Self> {
        let (answers, clock) = (watch.answers(), clock.clone());
        let (may_answer, open) = Default::default();
        let teller = Arc::new(Self { host, behind, clock, answers, may_answer, open });
        watch.may_ask(Teller::Store(Arc::clone(&teller) as _));
        teller
    }
}

#[async_trait]
impl ObjectStore for Clockwork {
    async fn tell_time(&self) -> Option<Failure> {
        let (_open, sent) = (Arc::clone(&self.open), self.answers.reading());
        self.may_answer.notified().await;
        self.answers.answered(self.host, Some(self.clock.now() - self.behind), sent);
        None
    }

    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        unreachable!()
    }

    async fn put_if_absent(&self, _: &ObjectKey, _: &Content, _: &Lock) -> Result<PutOutcome, StoreError> {
        unreachable!()
    }

    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        unreachable!()
    }

    async fn get(&self, _: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        unreachable!()
    }

    fn list(&self, _: &KeyPrefix, _: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        unreachable!()
    }
}

#[tokio::test]
async fn one_answer_confirms_the_clock_and_a_host_that_hangs_is_waited_for_before_a_loss_only() {
    let clock = TestClock::at("2026-11-23T02:00:00Z");
    let watch = ClockWatch::new(Arc::new(clock.clone()));
    let behind = SignedDuration::from_mins(3);
    let hangs = Clockwork::asked_by(&watch, &clock, "hangs.example", behind);
    let prompt = Clockwork::asked_by(&watch, &clock, "prompt.example", SignedDuration::ZERO);
    prompt.may_answer.notify_one();
    let Standing::Confirmed(confirmed) = watch.look().await else { panic!("{:?}", watch.standing()) };
    assert_eq!(confirmed.host(), "prompt.example");
    assert_eq!(Arc::strong_count(&hangs.open), 2, "the other one is still asked");

    let stream = "logins".parse().unwrap();
    let mut before_a_loss = pin!(watch.confirm_for_loss(&stream));
    assert!(poll!(&mut before_a_loss).is_pending());
    hangs.may_answer.notify_one();
    let is_behind = |at| clock.now().duration_since(at) > SignedDuration::from_mins(2);
    assert!(is_behind(before_a_loss.await.unwrap().at()));
    assert!(is_behind(watch.confirm(&stream).await.unwrap().at()));
}

#[tokio::test]
async fn an_answer_that_contradicts_the_first_one_is_heard() {
    let clock = TestClock::at("2026-11-23T02:00:00Z");
    let watch = ClockWatch::new(Arc::new(clock.clone()));
    let agrees = Clockwork::asked_by(&watch, &clock, "agrees.example", SignedDuration::ZERO);
    let contradicts = Clockwork::asked_by(&watch, &clock, "right.example", SignedDuration::from_hours(24));
    let mut looked = pin!(watch.look());
    agrees.may_answer.notify_one();
    assert!(poll!(&mut looked).is_pending());
    contradicts.may_answer.notify_one();
    let standing = looked.await;
    assert!(matches!(standing, Standing::Wrong(_)), "{standing:?}");
}
