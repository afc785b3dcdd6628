//! The format of keys, links and ids, and texts that do not have it.

use guildhall::token::{LinkToken, PlainKey, access_key_id, bytes_of_hex, id, link_hash};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};

fn rng() -> StdRng {
    StdRng::from_seed([5; 32])
}

#[test]
fn a_key_is_a_mark_a_prefix_a_secret_and_a_checksum() {
    let key = PlainKey::generate(&mut rng());
    let text = key.reveal();
    let (prefix, rest) = text.split_once('.').unwrap();
    assert_eq!((prefix.len(), rest.len()), ("guild_".len() + 8, 32 + 6));
    assert!(prefix.starts_with("guild_"));
    assert!(text["guild_".len()..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
    assert_eq!(key.prefix(), prefix);
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    assert_eq!(key.hash(), hash);
    assert_eq!(format!("{key:?}"), format!("PlainKey({prefix}…)"), "the secret is not printed");
}

#[test]
fn keys_differ() {
    let mut rng = rng();
    let texts: std::collections::BTreeSet<String> =
        (0..100).map(|_| PlainKey::generate(&mut rng).reveal().to_owned()).collect();
    assert_eq!(texts.len(), 100);
}

/// Computed by another implementation of CRC-32, zlib's. Secret scanners compute it too.
#[test]
fn the_checksum_is_crc_32_in_base_62() {
    assert_eq!(PlainKey::parse(KNOWN_KEY).expect("the checksum is right").reveal(), KNOWN_KEY);
}

const KNOWN_KEY: &str = "guild_Abcdefg1.0123456789abcdefghijABCDEFGHIJ013bAAbM";

#[test]
fn a_text_with_one_character_changed_is_no_key() {
    let key = PlainKey::generate(&mut rng());
    let text = key.reveal();
    assert_eq!(PlainKey::parse(text).expect("it is one").hash(), key.hash());
    for at in 0..text.len() {
        for other in ["0", "z", "_", ".", " "] {
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, other);
            assert!(changed == text || PlainKey::parse(&changed).is_none(), "{changed}");
        }
        assert!(PlainKey::parse(&text[..at]).is_none(), "the first {at} characters");
    }
    assert!(PlainKey::parse(&format!("{text}0")).is_none());
    assert!(PlainKey::parse("").is_none());
    assert!(PlainKey::parse(&"ä".repeat(26)).is_none(), "no character is cut in two");
}

/// Each has a checksum that is right for its text.
#[test]
fn a_text_of_another_form_is_no_key_whatever_its_checksum_is() {
    for wrong in WRONG_FORMS {
        assert!(PlainKey::parse(wrong).is_none(), "{wrong}");
    }
}

const WRONG_FORMS: &[&str] = &[
    "gildo_Abcdefg1.0123456789abcdefghijABCDEFGHIJ0122aNvb",
    "Abcdefg1.0123456789abcdefghijABCDEFGHIJ012r78Us",
    "guild_Abcdefg10123456789abcdefghijABCDEFGHIJ0106wyOG",
    "guild_Abcdefg.0123456789abcdefghijABCDEFGHIJ010wx7nG",
    "guild_Abcdefg12.0123456789abcdefghijABCDEFGHIJ011BMvxG",
    "guild_Abcdefg1.123456789abcdefghijABCDEFGHIJ013F5zEY",
    "guild_Abcdefg1.0123456789abcdefghijABCDEFGHIJ0122qlScc",
    "guild_Abcdef-1.0123456789abcdefghijABCDEFGHIJ013BgWnF",
    "guild_Abcdefg1.0123456789abcdefghijABCDEFGHIJ0_21Uabb",
    "guild_Abcdefg1.0123456789abcdefghijABCDEFGHIJé06ZJPw",
    "guild_Abcdefg1.0123456789abcdefghijABCDEFGHIJ0.1LTL29",
];

#[test]
fn a_link_is_43_characters_and_is_stored_as_its_hash() {
    let mut rng = rng();
    let (link, other) = (LinkToken::generate(&mut rng), LinkToken::generate(&mut rng));
    assert_eq!(link.reveal().len(), 43);
    assert!(link.reveal().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_ne!(link.reveal(), other.reveal());
    let hash: [u8; 32] = Sha256::digest(link.reveal().as_bytes()).into();
    assert_eq!((link.hash(), link_hash(link.reveal())), (hash, hash));
    assert_ne!(link_hash(""), link_hash("x"));
}

#[test]
fn an_access_key_id_is_as_long_as_s3_s() {
    let mut rng = rng();
    let (one, other) = (access_key_id(&mut rng), access_key_id(&mut rng));
    assert_eq!((one.len(), &one[..5]), (20, "GUILD"));
    assert!(one.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    assert_ne!(one, other);
}

#[test]
fn an_id_is_10_lower_case_letters_and_digits() {
    let mut rng = rng();
    let (one, other) = (id(&mut rng), id(&mut rng));
    assert_eq!(one.len(), 10);
    assert!(one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert_ne!(one, other);
}

#[test]
fn hexadecimal_digits_come_in_pairs() {
    assert_eq!(bytes_of_hex("00ff1A").unwrap(), [0x00, 0xff, 0x1a]);
    assert_eq!(bytes_of_hex("").unwrap(), [0; 0]);
    for wrong in ["0", "123", "0g", "ä"] {
        assert_eq!(bytes_of_hex(wrong), None, "{wrong}");
    }
}
