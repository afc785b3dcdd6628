//! Archive uploads, by the part of S3 that the clients use: one `PUT`, or parts in any order.
//!
//! Only the head of a request is read before its signature and its grant are verified. Then the body streams to the
//! disk. An upload is answered when its archive is durable and its row is written. All other S3 operations and all
//! other keys are refused as access denied. Keys are compared with the grant and never used as paths.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::http::request::Parts as Head;
use hyper::{HeaderMap, Uri};
use tokio::sync::OwnedMutexGuard;

use crate::api::request_log::RequestLog;
use crate::api::{App, Reply};
use crate::db::quotas::Quotas;
use crate::db::quotas::in_progress::Charge;
use crate::db::uploads::{self, Recorded};
use crate::db::{Now, Tx};
use crate::domain::uploads::{BUCKET, Grant};
use crate::domain::{Archive, Time};
use crate::error::Error;

mod body;
mod chunked;
mod content;
mod declared_body;
mod in_parts;
mod refusal;
mod requested;
mod signature;
mod store;
mod xml;

pub use body::Body;
use chunked::{Chunked, Malformed};
use content::Content;
use declared_body::{DeclaredBody, Framing, UnsignedPayloads};
use in_parts::{AllInParts, Completed, Parts, State};
use refusal::Refusal;
use requested::{Operation, Precondition, refuse_unserved};
use signature::{Signature, header};
use store::{Part, Sink, Store, Written};
use xml::ListedPart;

/// The route of an upload in the log.
pub const TEMPLATE: &str = "/guildhall-uploads/{s3_key}";

const PARTS_MAX: u16 = 10_000;
/// S3's rule: every part but the last has at least this size.
const PART_BYTES_MIN: u64 = 5 << 20;
const LIST_OF_PARTS_BYTES_MAX: u64 = 2 << 20;
/// Parts that were not completed are removed after this time. Their credentials expired an hour before.
const OPEN_UPLOAD_SECONDS: i64 = 2 * uploads::CREDENTIALS_SECONDS;

/// The limits of uploads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub archive_bytes_max: u64,
    /// How long a body may deliver nothing.
    pub stalled: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { archive_bytes_max: 5 << 30, stalled: Duration::from_secs(60) }
    }
}

pub struct Uploads {
    app: Arc<App>,
    store: Store,
    limits: Limits,
    /// Returns the current time and a seed.
    clock: fn() -> Now,
    in_parts: Mutex<AllInParts>,
}

/// Whether a request is for the bucket.
pub fn are_addressed(headers: &HeaderMap, uri: &Uri) -> bool {
    key(headers, uri).is_some()
}

/// The raw path behind the bucket.
fn key<'r>(headers: &HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let path = uri.path().strip_prefix('/')?;
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(BUCKET)) {
        return Some(path);
    }
    match path.strip_prefix(BUCKET)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

impl Uploads {
    pub fn open(app: &Arc<App>, limits: Limits, clock: fn() -> Now) -> std::io::Result<Uploads> {
        Ok(Uploads {
            app: Arc::clone(app),
            store: Store::open(app.db.archives().clone(), app.db.shortage())?,
            limits,
            clock,
            in_parts: Mutex::default(),
        })
    }

    /// Answers a request, whether or not all of its body was read.
    pub async fn answer(self: Arc<Self>, head: &Head, body: &mut Body, log: &RequestLog) -> Reply {
        self.act(head, body, log).await.unwrap_or_else(|refusal| refusal.reply(log))
    }

    async fn act(self: &Arc<Self>, head: &Head, body: &mut Body, log: &RequestLog) -> Result<Reply, Refusal> {
        let grant = self.authorize(head, log)?;
        let operation = Operation::of(head)?;
        refuse_unserved(head)?;
        match operation {
            Operation::Put => self.put(&grant, head, body).await,
            Operation::CreateInParts => self.create_in_parts(grant),
            Operation::PutPart { upload_id, number } => self.put_part(&grant, head, body, &upload_id, number).await,
            Operation::Complete { upload_id } => self.complete(&grant, head, body, &upload_id).await,
            Operation::Abort { upload_id } => self.abort(&grant, &upload_id),
        }
    }

    /// Authenticates a request: the signature, the credentials, and whether they are for this key and its caller
    /// still has access.
    fn authorize(&self, head: &Head, log: &RequestLog) -> Result<Grant, Refusal> {
        let now = (self.clock)();
        let signature = Signature::read(head)?;
        let token = header(head, signature::SESSION_TOKEN)?.ok_or_else(invalid_token)?;
        let id = signature.access_key_id;
        self.app.db.read(now, |tx| {
            Ok(signature.verify(&uploads::secret(tx, id), head, tx.now).and_then(|()| {
                let grant = uploads::granted(tx, id, token).ok_or_else(invalid_token)?;
                if grant.expires_at <= tx.now {
                    let message = "these credentials have expired: ask for new ones";
                    return Err(Refusal::new(400, "ExpiredToken", message));
                }
                if key(&head.headers, &head.uri) != Some(grant.s3_key.as_str()) {
                    return Err(Refusal::access_denied());
                }
                log.note_caller(&uploads::uploader(tx, &grant)?);
                Ok(grant)
            }))
        })?
    }

    async fn put(&self, grant: &Grant, head: &Head, body: &mut Body) -> Result<Reply, Refusal> {
        let precondition = Precondition::of(head)?;
        self.check_precondition(grant, precondition)?;
        let declared_body = self.declared_body(head)?;
        let sink = self.store.begin(self.charge(grant, declared_body.bytes)?, declared_body.tally())?;
        let written = self.receive(declared_body, sink, body).await?;
        let reply = stored(&written.content);
        self.keep(grant, written, precondition).await?;
        Ok(reply)
    }

    /// Checks what must hold before the body is read.
    fn check_precondition(&self, grant: &Grant, precondition: Precondition) -> Result<(), Refusal> {
        let is_there = || self.app.db.read((self.clock)(), |tx| uploads::is_recorded(tx, &grant.s3_key));
        if precondition == Precondition::IsAbsent && is_there()? { Err(Refusal::precondition_failed()) } else { Ok(()) }
    }

    /// Whether unsigned bodies are allowed: over plain HTTP anyone on the way could replace one.
    fn unsigned_payloads(&self) -> UnsignedPayloads {
        match &self.app.reverse_proxy.public {
            Some(base_url) if base_url.is_https() => UnsignedPayloads::Accepted,
            Some(_) | None => UnsignedPayloads::Refused,
        }
    }

    fn declared_body(&self, head: &Head) -> Result<DeclaredBody, Refusal> {
        let declared_body = DeclaredBody::by(head, self.unsigned_payloads())?;
        if declared_body.bytes > self.limits.archive_bytes_max {
            return Err(Refusal::too_large(self.limits.archive_bytes_max));
        }
        Ok(declared_body)
    }

    /// Streams a body to the disk and compares it with its declarations.
    async fn receive(
        &self,
        mut declared_body: DeclaredBody,
        mut sink: Sink,
        body: &mut Body,
    ) -> Result<Written, Refusal> {
        let mut left = declared_body.bytes;
        let mut chunked = (declared_body.framing == Framing::Chunked).then(Chunked::new);
        while let Some(mut bytes) = body.next(self.limits.stalled).await? {
            while let Some(piece) = payload(&mut chunked, &mut bytes)? {
                left = left.checked_sub(piece.len() as u64).ok_or_else(Refusal::incomplete)?;
                sink.write(piece).await?;
            }
        }
        if left > 0 {
            return Err(Refusal::incomplete());
        }
        if let Some(chunked) = chunked {
            declared_body.add_trailers(&chunked.end().map_err(broken)?)?;
        }
        let written = sink.finish().await?;
        declared_body.check(&written.content)?;
        Ok(written)
    }

    /// Charges a file of the declared length to its uploader, until the file is placed or dropped.
    fn charge(&self, grant: &Grant, bytes: u64) -> Result<Charge, Refusal> {
        let db = &self.app.db;
        if db.is_short_of_space() {
            return Err(Refusal::from(Error::StorageFull));
        }
        let now = (self.clock)();
        let room = db.read(now, |tx| uploads::room(tx, grant))?;
        let Quotas { settings, in_progress, .. } = db.quotas();
        loop {
            match in_progress.begin_file(settings, grant, bytes, room) {
                Ok(charge) => return Ok(charge),
                Err(_) if self.in_parts().give_way(grant, now.time) => {}
                Err(error) => return Err(self.refused(grant, error, now)),
            }
        }
    }

    /// Records in the audit log that a quota refused an upload.
    fn refused(&self, grant: &Grant, error: Error, now: Now) -> Refusal {
        if let Error::QuotaExceeded(quota) = &error
            && self.app.db.quotas().in_progress.is_to_note(&grant.owner(), now.time)
        {
            let (grant, quota) = (grant.clone(), quota.clone());
            self.app.db.write_later(now, move |tx| uploads::note_refusal(tx, &grant, quota));
        }
        Refusal::from(error)
    }

    fn in_parts(&self) -> MutexGuard<'_, AllInParts> {
        self.in_parts.lock().expect("nobody panics holding it")
    }

    /// Finishes an upload: makes its archive durable and writes its row.
    async fn keep(&self, grant: &Grant, written: Written, precondition: Precondition) -> Result<Archive, Refusal> {
        let archive = Archive { hash: written.content.hash, bytes: written.content.bytes };
        // An archive that is refused or exists already is not placed; otherwise it would stay until it is swept.
        let foreseen = |tx: &Tx| uploads::foreseen(tx, &grant.s3_key, &archive.hash);
        let foreseen = self.app.db.read((self.clock)(), foreseen)?;
        precondition.check(foreseen)?;
        if foreseen == Recorded::New {
            let placed = self.store.place(written).await?;
            let (grant, archive) = (grant.clone(), placed.archive.clone());
            let record = move |tx: &Tx| uploads::record(tx, &grant, &archive);
            precondition.check(self.app.db.write((self.clock)(), record).await?)?;
        }
        Ok(archive)
    }

    // ---- multipart ----

    fn create_in_parts(&self, grant: Grant) -> Result<Reply, Refusal> {
        let Now { time: now, seed } = (self.clock)();
        let upload_id: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let Quotas { settings, in_progress, .. } = self.app.db.quotas();
        let charge = loop {
            match in_progress.begin_upload(settings, &grant) {
                Ok(charge) => break charge,
                Err(_) if self.in_parts().give_way(&grant, now) => {}
                Err(error) => return Err(self.refused(&grant, error, Now { time: now, seed })),
            }
        };
        let reply = xml::created(&grant.s3_key, &upload_id);
        self.in_parts().begin(upload_id, grant, charge, now);
        Ok(reply)
    }

    async fn put_part(
        &self,
        grant: &Grant,
        head: &Head,
        body: &mut Body,
        upload_id: &str,
        number: u16,
    ) -> Result<Reply, Refusal> {
        let declared_body = self.declared_body(head)?;
        let _receiving = self.in_parts().receiving(grant, upload_id, (self.clock)().time)?;
        let sink = match &mut *self.state(grant, upload_id)?.lock().await {
            State::Open(Parts { shared, .. }) => {
                let charge = self.charge(grant, declared_body.bytes)?;
                self.store.begin_part(charge, declared_body.bytes, declared_body.tally(), number, shared)?
            }
            State::Completed(_) => return Err(Refusal::no_such_upload()),
        };
        let written = self.receive(declared_body, sink, body).await?;
        let part = written.into_part();
        let reply = stored(&part.content);
        // It may have been aborted meanwhile.
        match &mut *self.state(grant, upload_id)?.lock().await {
            State::Open(parts) => drop(parts.came.insert(number, part)),
            State::Completed(_) => return Err(Refusal::no_such_upload()),
        }
        Ok(reply)
    }

    async fn complete(
        self: &Arc<Self>,
        grant: &Grant,
        head: &Head,
        body: &mut Body,
        upload_id: &str,
    ) -> Result<Reply, Refusal> {
        let state = self.state(grant, upload_id)?;
        let precondition = Precondition::of(head)?;
        let mut declared_body = DeclaredBody::by(head, self.unsigned_payloads())?;
        let list = xml::parts(&self.list_of_parts(body, &mut declared_body).await?)?;
        let state = state.lock_owned().await;
        // Continues if the client hangs up: when the client asks again, the upload is complete.
        let (this, whose, id) = (Arc::clone(self), grant.clone(), upload_id.to_owned());
        let joining = async move { this.join(state, &whose, &id, declared_body, list, precondition).await };
        let joined = tokio::task::spawn_local(joining).await;
        let tag = joined.map_err(|cause| Error::Internal(format!("an upload was not completed: {cause}")))??;
        Ok(xml::completed(&grant.s3_key, &tag))
    }

    async fn join(
        &self,
        mut state: OwnedMutexGuard<State>,
        grant: &Grant,
        upload_id: &str,
        mut declared_body: DeclaredBody,
        list: Vec<ListedPart>,
        precondition: Precondition,
    ) -> Result<String, Refusal> {
        let open = match &mut *state {
            State::Open(open) => open,
            State::Completed(completed) => return completed.again(&declared_body, &list, precondition),
        };
        self.check_precondition(grant, precondition)?;
        let parts = in_order(&open.came, &list)?;
        declared_body.check_parts(&parts.iter().map(|part| &part.content).collect::<Vec<_>>())?;
        if parts.iter().map(|part| part.content.bytes).sum::<u64>() > self.limits.archive_bytes_max {
            return Err(Refusal::too_large(self.limits.archive_bytes_max));
        }
        let whole = match open.shared.take() {
            Some(shared) => shared.whole(&parts, declared_body.tally()).await?,
            None => None,
        };
        let written = match whole {
            Some(whole) => whole,
            // The parts are charged already.
            None => self.store.begin(self.charge(grant, 0)?, declared_body.tally())?.join(&parts).await?,
        };
        declared_body.check(&written.content)?;
        let kept = self.keep(grant, written, precondition).await;
        open.came.retain(|_, part| part.is_under_way());
        let archive = kept?;
        let tag = format!("{}-{}", tag(&archive.hash), list.len());
        self.in_parts().complete(grant, upload_id, list.len());
        *state = State::Completed(Completed { tag: tag.clone(), bytes: archive.bytes, list });
        Ok(tag)
    }

    fn abort(&self, grant: &Grant, upload_id: &str) -> Result<Reply, Refusal> {
        self.state(grant, upload_id)?;
        self.in_parts().remove(upload_id);
        Ok(Reply {
            status: 204,
            content_type: "application/xml",
            headers: Vec::new(),
            body: Vec::new(),
            archive: None,
            call: None,
            model_api: None,
        })
    }

    fn state(&self, grant: &Grant, upload_id: &str) -> Result<Arc<tokio::sync::Mutex<State>>, Refusal> {
        self.in_parts().state(grant, upload_id)
    }

    async fn list_of_parts(&self, body: &mut Body, declared_body: &mut DeclaredBody) -> Result<Vec<u8>, Refusal> {
        if declared_body.bytes > LIST_OF_PARTS_BYTES_MAX || declared_body.framing != Framing::Plain {
            return Err(xml::malformed());
        }
        body.hold(declared_body.bytes as usize)?;
        let mut list = Vec::new();
        while let Some(bytes) = body.next(self.limits.stalled).await? {
            list.extend_from_slice(&bytes); // never more than the declared length, which frames the body
        }
        declared_body.check_list(&list)?;
        Ok(list)
    }

    /// Forgets uploads in parts that were not completed in time.
    pub fn forget_unfinished(&self, now: Time) {
        self.in_parts().forget_older_than(now.plus_seconds(-OPEN_UPLOAD_SECONDS));
    }
}

impl Completed {
    /// Repeats the reply of a completed upload if the request is the same.
    fn again(
        &self,
        declared_body: &DeclaredBody,
        list: &[ListedPart],
        precondition: Precondition,
    ) -> Result<String, Refusal> {
        if precondition == Precondition::IsAbsent {
            return Err(Refusal::precondition_failed());
        }
        declared_body.check_archive_bytes(self.bytes)?;
        if list == self.list { Ok(self.tag.clone()) } else { Err(Refusal::already_complete()) }
    }
}

/// The parts of a list. Each must exist with the listed tag, in ascending order, and all but the last must have the
/// minimum size.
fn in_order<'p>(parts: &'p BTreeMap<u16, Part>, list: &[ListedPart]) -> Result<Vec<&'p Part>, Refusal> {
    if !list.is_sorted_by(|part, next| part.number < next.number) {
        return Err(Refusal::new(400, "InvalidPartOrder", "list the parts in ascending order, each once"));
    }
    let mut found = Vec::new();
    for listed in list {
        let is_as_listed = |part: &&Part| {
            let content = &part.content;
            tag(&content.hash) == listed.tag && listed.checksums.iter().all(|checksum| checksum.is_of(content))
        };
        let part = parts.get(&listed.number).filter(is_as_listed);
        found.push(part.ok_or_else(|| {
            let message = format!("part {} did not come, or with another ETag or checksum", listed.number);
            Refusal::new(400, "InvalidPart", message)
        })?);
    }
    if found.iter().rev().skip(1).any(|part| part.content.bytes < PART_BYTES_MIN) {
        let message = format!("every part but the last must have at least {PART_BYTES_MIN} bytes");
        return Err(Refusal::new(400, "EntityTooSmall", message));
    }
    Ok(found)
}

fn payload(chunked: &mut Option<Chunked>, bytes: &mut Bytes) -> Result<Option<Bytes>, Refusal> {
    match chunked {
        Some(chunked) => chunked.next(bytes).map_err(broken),
        None => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
    }
}

fn broken(_: Malformed) -> Refusal {
    Refusal::incomplete()
}

/// An entity tag: half of the content's hash, which is as long as the MD5 that clients may expect and do not check.
fn tag(hash: &[u8; 32]) -> String {
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(content: &Content) -> Reply {
    let crc32 = BASE64.encode(content.crc32().to_be_bytes());
    let headers = vec![("etag", format!("\"{}\"", tag(&content.hash))), ("x-amz-checksum-crc32", crc32)];
    Reply {
        status: 200,
        content_type: "application/xml",
        headers,
        body: Vec::new(),
        archive: None,
        call: None,
        model_api: None,
    }
}

fn invalid_token() -> Refusal {
    Refusal::new(400, "InvalidToken", "the session token is not that of these credentials")
}
