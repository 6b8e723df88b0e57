//! Slow and silent clients, over a pipe and with a simulated clock.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::Empty;
use hyper::client::conn::http2 as client_http2;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

struct Conversation {
    client: DuplexStream,
    ended: JoinHandle<anyhow::Result<()>>,
    activity: Arc<Activity>,
    health: Health,
}

fn connect(is_http2: bool) -> Conversation {
    let (client, server) = tokio::io::duplex(1024);
    let router = Router::new().route("/", get("ok\n")).route("/long", get("x".repeat(100_000)));
    let (activity, health, limits) = (Activity::new(), Health::default(), Limits::default());
    let connection = HttpConnection {
        router,
        activity: Arc::clone(&activity),
        limits,
        health: health.clone(),
        client: None,
    };
    let ended = if is_http2 {
        tokio::spawn(serve_http2(server, connection))
    } else {
        tokio::spawn(serve_http1(server, connection))
    };
    Conversation { client, ended, activity, health }
}

impl Conversation {
    async fn ask(&mut self) {
        self.client.write_all(REQUEST).await.unwrap();
        let mut buffer = [0; 1024];
        let length = self.client.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200 OK"), "{:?}", &buffer[..length]);
    }

    /// Returns the time until the connection ends.
    async fn rest(self) -> Duration {
        let started = Instant::now();
        // Closed without an answer.
        drop(self.ended.await.unwrap());
        started.elapsed()
    }
}

fn about(took: Duration, limit: Duration) {
    let margin = Duration::from_millis(1500);
    assert!(
        took + Duration::from_millis(5) >= limit && took < limit + margin,
        "{took:?} instead of {limit:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_slowly_is_cut_off() {
    for asks_before in [0, 2] {
        let mut conversation = connect(false);
        for _ in 0..asks_before {
            conversation.ask().await;
            sleep(Duration::from_secs(90)).await;
        }
        let started = Instant::now();
        for byte in REQUEST.iter().take(REQUEST.len() - 1) {
            if conversation.client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        drop(conversation.ended.await.unwrap());
        about(started.elapsed(), Limits::default().head);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlasts_the_api_servers_patience() {
    let mut conversation = connect(false);
    for _ in 0..3 {
        sleep(Duration::from_secs(90)).await;
        conversation.ask().await;
    }
    about(conversation.rest().await, Limits::default().idle);
    about(connect(false).rest().await, Limits::default().idle);
}

#[tokio::test(start_paused = true)]
async fn a_head_in_several_pieces_is_answered() {
    let mut conversation = connect(false);
    for piece in REQUEST.chunks(8) {
        conversation.client.write_all(piece).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let mut buffer = [0; 1024];
    let length = conversation.client.read(&mut buffer).await.unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 200 OK"));
    conversation.ask().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answer_is_cut_off() {
    let mut conversation = connect(false);
    conversation.client.write_all(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    about(conversation.rest().await, Limits::default().write);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_should_make_room_ends_at_once() {
    let mut conversation = connect(false);
    conversation.ask().await;
    conversation.client.write_all(b"GET / HT").await.unwrap();
    conversation.activity.close();
    assert_eq!(conversation.rest().await, Duration::ZERO);
}

struct Http2 {
    sender: client_http2::SendRequest<Empty<Bytes>>,
    /// The client's side of the connection: `Ok` if the server told it to close.
    told: JoinHandle<hyper::Result<()>>,
    ended: JoinHandle<anyhow::Result<()>>,
    health: Health,
}

async fn http2(conversation: Conversation) -> Http2 {
    let io = TokioIo::new(conversation.client);
    let (sender, connection) = client_http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let told = tokio::spawn(connection);
    Http2 { sender, told, ended: conversation.ended, health: conversation.health }
}

impl Http2 {
    async fn ask(&mut self) -> hyper::Result<StatusCode> {
        let request = hyper::Request::get("http://a/").body(Empty::new()).unwrap();
        self.sender.ready().await?;
        self.sender.send_request(request).await.map(|response| response.status())
    }
}

#[tokio::test(start_paused = true)]
async fn http2_without_a_request_is_cut_off() {
    // First no preface at all; then the preface and nothing else.
    about(connect(true).rest().await, Limits::default().head);
    let silent = http2(connect(true)).await;
    let started = Instant::now();
    drop(silent.ended.await.unwrap());
    about(started.elapsed(), Limits::default().head);
}

#[tokio::test(start_paused = true)]
async fn idle_http2_ends_after_the_api_servers_patience() {
    let mut client = http2(connect(true)).await;
    for _ in 0..3 {
        assert_eq!(client.ask().await.unwrap(), StatusCode::OK);
        sleep(Duration::from_secs(90)).await;
    }
    assert_eq!(client.ask().await.unwrap(), StatusCode::OK);
    let started = Instant::now();
    client.told.await.unwrap().unwrap();
    about(started.elapsed(), Limits::default().idle);
}

#[tokio::test(start_paused = true)]
async fn http2_is_told_to_go_away_while_draining_but_not_before_its_first_answer() {
    let mut client = http2(connect(true)).await;
    assert_eq!(client.ask().await.unwrap(), StatusCode::OK);
    client.health.drain();
    sleep(Duration::from_secs(1)).await;
    assert!(client.ask().await.is_err());
    client.told.await.unwrap().unwrap();

    let fresh = connect(true);
    fresh.health.drain();
    let mut client = http2(fresh).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.ask().await.unwrap(), StatusCode::OK);
    client.told.await.unwrap().unwrap();
}
