//! What a request costs, beside a server that does nothing.
//!
//! Starts `guildhall serve` and a bare hyper "hello" and measures both in turn, several rounds in one run, so that a noisy
//! machine is noisy to both. The figures to trust are the ratios, and among them that of processor time per request.
//!
//! ```text
//! cargo bench --bench requests             everything; the million keys take a minute to make
//! cargo bench --bench requests -- quick    a thousand keys only, short rounds
//! ```

mod hello;
mod load;
mod seed;
mod server;

use std::time::Duration;

use load::{Load, Measured};
use seed::World;
use server::Server;

/// One round's length and how many there are.
struct Plan {
    round: Duration,
    rounds: usize,
    keys: &'static [usize],
}

const FULL: Plan = Plan { round: Duration::from_secs(3), rounds: 5, keys: &[1_000, 1_000_000] };
const QUICK: Plan = Plan { round: Duration::from_millis(1500), rounds: 3, keys: &[1_000] };

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == hello::WORD) {
        return hello::serve();
    }
    let plan = if words.iter().any(|word| word == "quick") { QUICK } else { FULL };
    let worlds: Vec<World> = plan.keys.iter().map(|&keys| World::with_keys(keys)).collect();
    reads(&plan, &worlds);
    writes(&plan, &worlds[0]);
}

/// A list of a team's ten secrets, by random keys, beside hello: at 64 connections and at one, alone and beside writes.
fn reads(plan: &Plan, worlds: &[World]) {
    println!("list a team's ten secrets, beside hello (ratios of medians over {} rounds)", plan.rounds);
    println!(
        "{:<34} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "", "req/s", "p50 µs", "p99 µs", "CPU µs", "req/s ×", "CPU ×"
    );
    let hello = Server::hello();
    let mut cpu_at_64 = Vec::new();
    for world in worlds {
        let server = Server::serve(world.path());
        println!("  resident after serve: {:.1} MiB", server.resident_mib());
        for connections in [64, 1] {
            let name = format!("{} keys, {connections} connections", world.keys.len());
            let ratio = side_by_side(plan, &name, &hello, &server, world, connections);
            if connections == 64 {
                cpu_at_64.push(ratio);
            }
        }
        let writer = load::Background::writes(&server, world, 100);
        side_by_side(plan, &format!("{} keys, 64, beside 100 writes/s", world.keys.len()), &hello, &server, world, 64);
        println!("  background writes answered: {:.0}/s", writer.stop());
    }
    if let [small, large] = cpu_at_64[..] {
        println!("growth of processor time from the first to the last world: {:.2} ×", large / small);
    }
}

/// Measures hello and the server in turn; returns the ratio of processor time a request.
fn side_by_side(plan: &Plan, name: &str, hello: &Server, server: &Server, world: &World, connections: usize) -> f64 {
    let mut of_hello = Vec::new();
    let mut of_server = Vec::new();
    for _ in 0..plan.rounds {
        of_hello.push(load::run(hello, &Load::hello(), connections, plan.round));
        of_server.push(load::run(server, &Load::list_secrets(world), connections, plan.round));
    }
    let (hello, server) = (Measured::median(of_hello), Measured::median(of_server));
    let cpu = server.cpu_micros / hello.cpu_micros;
    println!("{:<34} {}", format!("  hello, {connections} connections"), hello.columns());
    println!("  {name:<32} {} {:>8.2} {cpu:>8.2}", server.columns(), server.per_second / hello.per_second);
    cpu
}

/// Upserts of a secret beside the disk's raw rate of 4 KiB appends, each made durable.
fn writes(plan: &Plan, world: &World) {
    println!("upsert a secret, beside 4 KiB append + fdatasync");
    let server = Server::serve(world.path());
    for connections in [64, 1] {
        let mut raw = Vec::new();
        let mut rounds = Vec::new();
        for _ in 0..plan.rounds {
            raw.push(load::raw_appends(world.path(), plan.round));
            rounds.push(load::run(&server, &Load::upsert_secret(world), connections, plan.round));
        }
        raw.sort_by(f64::total_cmp);
        let (raw, server) = (raw[raw.len() / 2], Measured::median(rounds));
        println!("  raw {raw:.0}/s");
        println!("  {:<32} {} {:>8.2}", format!("{connections} clients"), server.columns(), server.per_second / raw);
    }
}
