//! What a call costs through the server, compared with a call directly to the same socket.
//!
//! The model is a small server in this program that answers with what it gets, so nothing of a real model's own cost
//! hides the cost of passing on. Direct calls and calls through the server alternate within one run, so a noisy machine
//! affects both alike.
//!
//! ```text
//! cargo bench --bench calls
//! cargo bench --bench calls -- quick    short rounds
//! ```

mod echo;
mod site;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use site::Site;

/// What is aimed at, and what must hold.
const ADDED_MICROS_AIM: f64 = 200.0;
const ADDED_MICROS_MAX: f64 = 300.0;
const THROUGHPUT_MIN: f64 = 0.7;
const FIRST_BYTE_MICROS_MAX: f64 = 2_000.0;

const CLIENTS: usize = 64;

struct Plan {
    calls: usize,
    rounds: usize,
    round: Duration,
}

const FULL: Plan = Plan { calls: 5_000, rounds: 5, round: Duration::from_secs(3) };
const QUICK: Plan = Plan { calls: 500, rounds: 3, round: Duration::from_millis(700) };

fn main() {
    let plan = if std::env::args().any(|word| word == "quick") { QUICK } else { FULL };
    let site = Site::new();
    one_client(&plan, &site);
    first_byte(&plan, &site);
    many_clients(&plan, &site);
}

/// One client: the median of what passing on adds.
fn one_client(plan: &Plan, site: &Site) {
    let (mut direct, mut through) = (site.direct(), site.through());
    let (call, passed) = (site.direct_call("predict"), site.call("predict"));
    let (mut of_direct, mut of_through) = (Vec::new(), Vec::new());
    for number in 0..plan.calls + 100 {
        let alone = micros(|| whole(&mut direct, &call));
        let with_us = micros(|| whole(&mut through, &passed));
        if number >= 100 {
            of_direct.push(alone);
            of_through.push(with_us);
        }
    }
    let (direct, through) = (median(&mut of_direct), median(&mut of_through));
    let added = through - direct;
    println!(
        "one client: direct p50 {direct:.0} µs, through p50 {through:.0} µs: {added:.0} µs added \
         (aim {ADDED_MICROS_AIM:.0}, at most {ADDED_MICROS_MAX:.0})"
    );
}

/// A stream: how much later its first bytes arrive.
fn first_byte(plan: &Plan, site: &Site) {
    let (mut direct, mut through) = (site.direct(), site.through());
    let (call, passed) = (site.direct_call("stream"), site.call("stream"));
    let (mut of_direct, mut of_through) = (Vec::new(), Vec::new());
    for _ in 0..plan.calls / 10 {
        of_direct.push(first(&mut direct, &call));
        of_through.push(first(&mut through, &passed));
    }
    let later = median(&mut of_through) - median(&mut of_direct);
    println!("first bytes of a stream: {later:.0} µs later (at most {FIRST_BYTE_MICROS_MAX:.0})");
}

/// Many clients: the throughput, as a part of that of direct calls.
fn many_clients(plan: &Plan, site: &Site) {
    let (mut of_direct, mut of_through) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        of_direct.push(per_second(plan.round, || (site.direct(), site.direct_call("predict"))));
        of_through.push(per_second(plan.round, || (site.through(), site.call("predict"))));
    }
    let (direct, through) = (median(&mut of_direct), median(&mut of_through));
    println!(
        "{CLIENTS} clients: direct {direct:.0}/s, through {through:.0}/s: {:.2} of it (at least {THROUGHPUT_MIN})",
        through / direct
    );
}

fn per_second<C: Read + Write + Send>(round: Duration, client: impl Fn() -> (C, Vec<u8>)) -> f64 {
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    let begun = Instant::now();
    let made: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(mut client, call)| {
                scope.spawn(move || {
                    let mut made = 0;
                    while begun.elapsed() < round {
                        whole(&mut client, &call);
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no client panics")).sum()
    });
    made as f64 / begun.elapsed().as_secs_f64()
}

fn micros(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e6
}

/// Sends a request and reads its whole reply.
fn whole(client: &mut (impl Read + Write), call: &[u8]) {
    client.write_all(call).expect("the server takes it");
    read_until(client, |bytes| {
        let Some(head) = end_of_head(bytes) else { return false };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.split("content-length: ").nth(1).and_then(|tail| tail.lines().next()?.parse::<usize>().ok());
        match length {
            Some(length) => bytes.len() >= head + length,
            None => bytes.ends_with(b"0\r\n\r\n"),
        }
    });
}

/// Sends a request for a stream. Returns after how many microseconds its first bytes came, and reads the rest.
fn first(client: &mut (impl Read + Write), call: &[u8]) -> f64 {
    let begun = Instant::now();
    client.write_all(call).expect("the server takes it");
    let mut seen = None;
    read_until(client, |bytes| {
        let has_body = end_of_head(bytes).is_some_and(|head| bytes.len() > head);
        if has_body && seen.is_none() {
            seen = Some(begun.elapsed().as_secs_f64() * 1e6);
        }
        has_body && bytes.ends_with(b"0\r\n\r\n")
    });
    seen.expect("a stream has a body")
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn read_until(client: &mut impl Read, mut is_whole: impl FnMut(&[u8]) -> bool) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        let count = client.read(&mut piece).expect("the reply can be read");
        assert!(count > 0, "the connection closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
        if is_whole(&bytes) {
            return;
        }
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
