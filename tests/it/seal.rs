//! Is a sealed value bound to all its associated data, and to its key?

use guildhall::domain::{OrgId, SecretName, SecretValue, TeamId};
use guildhall::seal::{AssociatedData, MasterKey, Sealer, keyed_hash};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::types::{FromSql, ValueRef};

fn rng() -> StdRng {
    StdRng::from_seed([5; 32])
}

fn id<T: FromSql>(text: &str) -> T {
    T::column_result(ValueRef::from(text)).expect("an id is a text")
}

fn sealer() -> Sealer {
    let master = MasterKey::generate(&mut rng());
    let wrapped = master.wrap_new_data_key(&mut rng());
    master.unwrap(&wrapped).expect("it was wrapped by this key")
}

/// The parts of associated data, owned.
#[derive(Clone)]
struct Parts {
    org_id: OrgId,
    team_id: TeamId,
    secret_id: String,
    name: SecretName,
    version: i64,
}

impl Parts {
    fn new() -> Parts {
        let name = SecretName::parse("hf_token").unwrap();
        Parts { org_id: id("acme"), team_id: id("research"), secret_id: "token".to_owned(), name, version: 1 }
    }

    fn associated(&self) -> AssociatedData<'_> {
        let Parts { org_id, team_id, secret_id, name, version } = self;
        AssociatedData { org_id, team_id, secret_id, name, version: *version }
    }
}

// ---- values ----

#[test]
fn a_value_opens_with_its_own_associated_data_and_with_no_other() {
    let (sealer, own) = (sealer(), Parts::new());
    let value = SecretValue::parse("hf_1".to_owned()).unwrap();
    let sealed = sealer.seal(&mut rng(), own.associated(), &value);
    let open = |parts: &Parts| sealer.open(parts.associated(), &sealed);
    let opened = open(&own).expect("it was sealed with this");
    assert_eq!(sealer.seal(&mut rng(), own.associated(), &opened), sealed, "the value is the one that was sealed");
    let others = [
        ("organization", Parts { org_id: id("globex"), ..own.clone() }),
        ("team", Parts { team_id: id("inference"), ..own.clone() }),
        ("secret", Parts { secret_id: "token2".to_owned(), ..own.clone() }),
        ("spelling of the name", Parts { name: SecretName::parse("HF_TOKEN").unwrap(), ..own.clone() }),
        ("version", Parts { version: 2, ..own.clone() }),
    ];
    for (part, other) in others {
        assert!(open(&other).is_none(), "the value opens with another {part}");
    }
}

/// Two neighbouring parts do not run into each other.
#[test]
fn a_character_does_not_move_from_one_part_to_the_next() {
    let sealer = sealer();
    let value = SecretValue::parse("hf_1".to_owned()).unwrap();
    let own = Parts { org_id: id("ab"), team_id: id("c"), ..Parts::new() };
    let sealed = sealer.seal(&mut rng(), own.associated(), &value);
    let moved = Parts { org_id: id("a"), team_id: id("bc"), ..Parts::new() };
    assert!(sealer.open(own.associated(), &sealed).is_some());
    assert!(sealer.open(moved.associated(), &sealed).is_none());
}

#[test]
fn a_value_that_was_changed_cut_off_or_sealed_by_another_key_does_not_open() {
    let (sealer, own) = (sealer(), Parts::new());
    let value = SecretValue::parse("hf_1".to_owned()).unwrap();
    let sealed = sealer.seal(&mut rng(), own.associated(), &value);
    assert_eq!(sealed.len(), 24 + 4 + 16, "nonce, value, tag");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealer.open(own.associated(), &changed).is_none(), "byte {at}");
        assert!(sealer.open(own.associated(), &sealed[..at]).is_none(), "the first {at} bytes");
    }
    let other = MasterKey::generate(&mut StdRng::from_seed([6; 32]));
    let other = other.unwrap(&other.wrap_new_data_key(&mut StdRng::from_seed([6; 32]))).unwrap();
    assert!(other.open(own.associated(), &sealed).is_none());
}

#[test]
fn the_same_value_is_sealed_differently_each_time() {
    let (sealer, own, mut rng) = (sealer(), Parts::new(), rng());
    let value = SecretValue::parse("hf_1".to_owned()).unwrap();
    let sealed: Vec<_> = (0..3).map(|_| sealer.seal(&mut rng, own.associated(), &value)).collect();
    assert!(sealed[0] != sealed[1] && sealed[1] != sealed[2] && sealed[0] != sealed[2]);
    assert!(!sealed[0].windows(4).any(|bytes| bytes == b"hf_1"));
}

// ---- the master key ----

#[test]
fn a_master_key_is_64_hexadecimal_digits_in_its_file() {
    let master = MasterKey::generate(&mut rng());
    let text = master.to_text();
    assert_eq!((text.len(), text.ends_with('\n')), (65, true));
    assert!(text.trim().bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
    let wrapped = master.wrap_new_data_key(&mut rng());
    for same in [text.to_string(), text.to_uppercase(), format!("  {}\r\n", text.trim())] {
        assert!(MasterKey::parse(&same).expect("it is a key").unwrap(&wrapped).is_some(), "{same:?}");
    }
    let digits = text.trim();
    let wrong = [
        String::new(),
        digits[1..].to_owned(),
        format!("{digits}0"),
        digits.replacen(&digits[..1], "g", 1),
        "ä".repeat(32),
        format!("{}é", &digits[2..]),
    ];
    for wrong in wrong {
        assert!(MasterKey::parse(&wrong).is_none(), "{wrong:?}");
    }
}

#[test]
fn a_data_key_is_unwrapped_by_the_master_key_that_wrapped_it() {
    let (master, other) = (MasterKey::generate(&mut rng()), MasterKey::generate(&mut StdRng::from_seed([6; 32])));
    let wrapped = master.wrap_new_data_key(&mut rng());
    assert!(master.unwrap(&wrapped).is_some());
    assert!(other.unwrap(&wrapped).is_none());
    let again = master.wrap_new_data_key(&mut StdRng::from_seed([6; 32]));
    let secret = |wrapped: &[u8]| master.unwrap(wrapped).unwrap().upload_secret("GUILDX").to_string();
    assert_ne!(secret(&wrapped), secret(&again), "each data key is another");
}

// ---- upload credentials ----

#[test]
fn an_upload_secret_follows_from_the_data_key_and_the_access_key_id() {
    let sealer = sealer();
    let secret = sealer.upload_secret("GUILDX");
    assert_eq!(*secret, *sealer.upload_secret("GUILDX"));
    assert_ne!(*secret, *sealer.upload_secret("GUILDY"));
    assert_eq!(secret.len(), 64);
    assert!(secret.bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
}

#[test]
fn a_grant_opens_for_its_access_key_id_alone() {
    let sealer = sealer();
    let sealed = sealer.seal_grant(&mut rng(), "GUILDX", "models/research");
    assert_eq!(sealer.open_grant("GUILDX", &sealed).as_deref(), Some("models/research"));
    assert_eq!(sealer.open_grant("GUILDY", &sealed), None);
    assert_eq!(sealer.open_grant("GUILDX", &sealed[1..]), None);
    assert!(sealer.open(Parts::new().associated(), &sealed).is_none(), "a grant is no secret's value");
}

/// RFC 4231, test case 2.
#[test]
fn a_keyed_hash_is_hmac_sha256() {
    let hash = keyed_hash(b"Jefe", b"what do ya want for nothing?");
    let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
