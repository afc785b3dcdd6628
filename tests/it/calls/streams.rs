//! Streams: pieces pass as they come, and each end of a call ends the other.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use guildhall::inference;

use super::model::Model;
use super::{Site, until};

const PREDICT: &str = "/models/researchmodel/predict";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Each piece arrives before the model sends the next.
#[test]
fn a_reply_streams() {
    let site = Site::new();
    let (next, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let model = Model::new(move |_, connection| {
        connection.write_all(HEAD).unwrap();
        for number in 0..5 {
            told.lock().unwrap().recv().unwrap();
            connection.write_all(format!("2\r\n{number},\r\n").as_bytes()).unwrap();
        }
        connection.write_all(b"0\r\n\r\n").is_ok()
    });
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 0\r\n"));
    assert_eq!(client.reply_head().0, 200);
    for number in 0..5 {
        next.send(()).unwrap();
        assert_eq!(client.chunk(), Some(format!("{number},").into_bytes()));
    }
    assert_eq!(client.chunk(), None);
}

/// The model gets the first bytes before the caller has sent the last.
#[test]
fn a_request_streams() {
    let site = Site::new();
    let (tell, arrived) = mpsc::channel::<Vec<u8>>();
    let tell = std::sync::Mutex::new(tell);
    let model = Model::raw(move |mut connection| {
        use std::io::Read as _;
        let mut piece = [0; 4096];
        loop {
            match connection.read(&mut piece) {
                Ok(count) if count > 0 => tell.lock().unwrap().send(piece[..count].to_vec()).unwrap(),
                _ => return,
            }
            if piece.starts_with(b"0\r\n\r\n") || piece.windows(5).any(|five| five == b"0\r\n\r\n") {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Transfer-Encoding: chunked\r\n"));
    let mut seen = String::new();
    for number in 0..5 {
        client.send(format!("7\r\npiece {number}\r\n"));
        while !seen.contains(&format!("piece {number}")) {
            seen.push_str(&String::from_utf8_lossy(&arrived.recv_timeout(super::PATIENCE).expect("it arrives")));
        }
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.reply().body, "ok");
}

/// A caller that leaves ends the call at the model at once: before the reply, and in the middle of it.
#[test]
fn a_caller_that_leaves_ends_the_call() {
    let site = Site::new();
    let model = Model::new(|seen, connection| {
        use std::io::Read as _;
        if seen.body == b"stream" {
            connection.write_all(HEAD).unwrap();
            connection.write_all(b"5\r\nbegun\r\n").unwrap();
        }
        let mut byte = [0];
        let _ = connection.read(&mut byte); // until the connection closes
        false
    });
    let replica = site.runs("researchfirst", &model);
    for (times, body) in ["silence", "stream"].into_iter().enumerate() {
        let mut client = site.client();
        client.send(site.head("POST", "max", PREDICT, &format!("Content-Length: {}\r\n", body.len())));
        client.send(body);
        if body == "stream" {
            assert_eq!(client.reply_head().0, 200);
            assert_eq!(client.chunk().as_deref(), Some(&b"begun"[..]));
        }
        until("the model has the call", || model.seen().len() == times + 1);
        assert_eq!(replica.outstanding(), 1);
        drop(client);
        until("the model's connection closes", || model.ended() == times + 1);
        until("the replica is free", || replica.outstanding() == 0);
    }
    until("both calls are counted", || site.counted(499) == 1 && site.counted(200) == 1);
}

/// A model that dies in the middle of a stream: the caller sees that the reply is not whole.
#[test]
fn a_reply_that_breaks_off_is_not_ended_cleanly() {
    let site = Site::new();
    let model = Model::new(|_, connection| {
        connection.write_all(HEAD).unwrap();
        connection.write_all(b"5\r\nbegun\r\n").unwrap();
        false
    });
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 0\r\n"));
    assert_eq!(client.reply_head().0, 200);
    assert_eq!(client.chunk().as_deref(), Some(&b"begun"[..]));
    assert!(client.is_closed());
    assert!(!client.rest().windows(5).any(|five| five == b"0\r\n\r\n"), "the last chunk is missing");
}

/// A stream that never ends is cut off at the deadline of the call.
#[test]
fn a_stream_ends_at_the_deadline() {
    let site = Site::with(inference::Limits { call: Duration::from_millis(500), ..inference::Limits::default() });
    let model = Model::new(|_, connection| {
        connection.write_all(HEAD).unwrap();
        connection.write_all(b"5\r\nbegun\r\n").unwrap();
        std::thread::sleep(super::PATIENCE / 2);
        false
    });
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 0\r\n"));
    assert_eq!(client.reply_head().0, 200);
    assert!(client.is_closed());
    until("the replica is free", || replica.outstanding() == 0);
}

/// A model that never stops writes only as much as its caller reads: what lies between them is bounded.
#[test]
fn an_endless_reply_waits_for_its_reader() {
    let site = Site::new();
    let written = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&written);
    let model = Model::new(move |_, connection| {
        connection.write_all(HEAD).unwrap();
        let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
        while connection.write_all(&chunk).is_ok() {
            noted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        false
    });
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 0\r\n"));
    assert_eq!(client.reply_head().0, 200);
    let mut before = u64::MAX;
    until("the model waits", || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, written.load(Ordering::Relaxed)) == written.load(Ordering::Relaxed)
    });
    assert!(before < 16 << 20, "{before} bytes lie between the model and its caller");
    for _ in 0..2000 {
        assert!(client.chunk().is_some());
    }
    assert!(written.load(Ordering::Relaxed) > before, "it goes on as its caller reads");
    drop(client);
    until("it ends", || model.ended() == 1);
}
