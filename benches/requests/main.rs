//! The cost of a request, compared with a server that does nothing.
//!
//! Starts `guildhall serve` and a minimal hyper server, "hello". Measures both in turn, in several rounds of one run,
//! so that a noisy machine affects both. The ratios are reliable, above all those of user time per request. System time
//! is mostly the cost of being woken by the load, which hello also pays.
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

/// The large organization and the large team whose members are listed.
const PEOPLE_OF_LARGE_ORGANIZATION: usize = 10_000;
const MEMBERS_OF_LARGE_TEAM: usize = 1_000;

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
    members(&plan, &worlds[0]);
    writes(&plan, &worlds[0]);
}

/// A list of a team's ten secrets, by random keys, beside hello: at 64 connections and at one, alone and beside writes.
fn reads(plan: &Plan, worlds: &[World]) {
    println!("list a team's ten secrets, beside hello (medians over {} rounds)", plan.rounds);
    println!("{:<34} {} {:>8} {:>9}", "", Measured::header(), "req/s ×", "user + µs");
    let hello = Server::hello();
    let mut at_64 = Vec::new();
    for world in worlds {
        let server = Server::serve(world.path());
        println!("  resident after serve: {:.1} MiB", server.resident_mib());
        for connections in [64, 1] {
            let name = format!("{} keys, {connections} connections", world.keys.len());
            let measured = side_by_side(plan, &name, &hello, &server, world, connections);
            if connections == 64 {
                at_64.push(measured);
            }
        }
        let writer = load::Background::writes(&server, world, 100);
        side_by_side(plan, &format!("{} keys, 64, beside 100 writes/s", world.keys.len()), &hello, &server, world, 64);
        println!("  background writes answered: {:.0}/s", writer.stop());
    }
    if let [small, large] = at_64[..] {
        let growth = (large.user_micros + large.system_micros) / (small.user_micros + small.system_micros);
        println!("growth of processor time from the first to the last world: {growth:.2} ×");
    }
}

/// Measures hello and the server in turn; prints both, and by how much user time the server is above hello.
fn side_by_side(
    plan: &Plan,
    name: &str,
    hello: &Server,
    server: &Server,
    world: &World,
    connections: usize,
) -> Measured {
    let (mut of_hello, mut of_server) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        of_hello.push(load::run(hello, &Load::hello(), connections, plan.round));
        of_server.push(load::run(server, &Load::list_secrets(world), connections, plan.round));
    }
    let (hello, server) = (Measured::median(of_hello), Measured::median(of_server));
    println!("{:<34} {}", format!("  hello, {connections} connections"), hello.columns());
    println!(
        "  {name:<32} {} {:>8.2} {:>9.1}",
        server.columns(),
        server.per_second / hello.per_second,
        server.user_micros - hello.user_micros
    );
    server
}

/// Members of a team beside its secrets: ten of each, ten members in a larger organization, and a page of a large team.
fn members(plan: &Plan, small: &World) {
    println!("list a team's members, beside its ten secrets (64 connections)");
    println!("{:<34} {} {:>8}", "", Measured::header(), "user ×");
    let large = World::with_keys(PEOPLE_OF_LARGE_ORGANIZATION);
    let of_large_teams = World::with_teams_of(MEMBERS_OF_LARGE_TEAM, MEMBERS_OF_LARGE_TEAM);
    let servers = [small, &large, &of_large_teams].map(|world| Server::serve(world.path()));
    let rows = [
        ("secrets", &servers[0], Load::list_secrets(small)),
        ("members", &servers[0], Load::list_members(small)),
        ("members, 10,000 people", &servers[1], Load::list_members(&large)),
        ("members of a team of 1,000", &servers[2], Load::list_members(&of_large_teams)),
    ];
    let mut rounds: [Vec<Measured>; 4] = Default::default();
    for _ in 0..plan.rounds {
        for ((_, server, load), rounds) in rows.iter().zip(&mut rounds) {
            rounds.push(load::run(server, load, 64, plan.round));
        }
    }
    let medians = rounds.map(Measured::median);
    for ((name, ..), measured) in rows.iter().zip(&medians) {
        println!("  {name:<32} {} {:>8.2}", measured.columns(), measured.user_micros / medians[0].user_micros);
    }
    println!(
        "  members / secrets {:.2} × (at most 2), large / small organization {:.2} × (at most 1.2)",
        medians[1].user_micros / medians[0].user_micros,
        medians[2].user_micros / medians[1].user_micros
    );
}

/// Upserts of a secret beside the disk's raw rate of 4 KiB appends, each made durable.
fn writes(plan: &Plan, world: &World) {
    println!("upsert a secret, beside 4 KiB append + fdatasync");
    println!("{:<34} {} {:>8}", "", Measured::header(), "raw ×");
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
