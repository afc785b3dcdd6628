//! Patches of a development deployment over HTTP.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::api::rest::deployments::{find, which};
use crate::api::{Reply, RequestContext};
use crate::db::deployments::patches::{self, FileChange, Patch, Verdict};
use crate::db::{Tx, deployments};
use crate::domain::deployments::Content;
use crate::domain::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::error::{Error, quoted};
use crate::policy::{Deployer, InTeam};
use crate::wire;
use crate::wire::deployments::{
    CreatePatch, CreatedPatch, PatchOp, PatchPoint, PatchPointWithHash, PatchesState, PatchesSynced, Signature,
    StoredSignature,
};

/// The most operations of one patch.
const OPERATIONS_MAX: usize = 5000;

pub fn state(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployment = find(tx, team, ctx)?;
    let state = patches::state(tx, &deployment)?;
    let running = state.running.ok_or_else(|| patches::why_unknown(&deployment))?;
    Ok(Reply::ok(&PatchesState {
        running_patch_point: point(&running)?,
        pending_patch_point: state.pending.as_ref().map(point).transpose()?,
    }))
}

pub fn stage(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = deployments::to_patch(tx, deployer, ctx.param("model_id"), which(ctx))?;
    let patch = ctx.read(read_body)?.of(&deployments::config(tx, changeable.deployment())?.parsed);
    patches::stage(tx, &changeable, &patch)?;
    Ok(Reply::ok(&CreatedPatch { patch_point: point(&patch.next)? }))
}

fn read_body(body: &[u8]) -> Result<ReadPatch, Error> {
    let asked: CreatePatch = wire::parse(body)?;
    let PatchPoint { content_hashes, config, requirements } = asked.next_patch_point;
    let signature = json!({
        "content_hashes_by_path": content_hashes,
        "config": config,
        "requirements_file_requirements": requirements.unwrap_or_default(),
    });
    let hash = patches::hash_of(&signature);
    ReadPatch::read(asked.prev_patch_hash, hash, &signature, asked.patch_ops)
}

pub fn sync(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = deployments::to_patch(tx, deployer, ctx.param("model_id"), which(ctx))?;
    let needs_full_deploy_reason = match patches::sync(tx, &changeable)? {
        Verdict::Synced => None,
        Verdict::NeedsFullDeploy(why) => Some(why),
    };
    Ok(Reply::ok(&PatchesSynced { needs_full_deploy_reason }))
}

fn point(content: &Content) -> Result<PatchPointWithHash<'_>, Error> {
    let signature: StoredSignature = serde_json::from_str(&content.signature)
        .map_err(|cause| Error::Defect(format!("a stored signature cannot be read: {cause}")))?;
    Ok(PatchPointWithHash {
        content_hashes: signature.content_hashes_by_path,
        config: signature.config,
        requirements: signature.requirements_file_requirements,
        hash: &content.hash,
    })
}

/// A patch, parsed as far as possible without the deployment that it changes.
pub struct ReadPatch {
    prev_hash: String,
    next: Content,
    /// The configuration after the patch.
    config: Map<String, Value>,
    changes: Vec<Change>,
    /// The requirements in base 64, if the patch changes them.
    requirements: Option<String>,
}

/// A change of a file in one of the folders that the configuration names.
struct Change {
    folder: Folder,
    path: String,
    content: Option<String>,
}

#[derive(Clone, Copy)]
enum Folder {
    Top,
    Model,
    Packages,
}

impl ReadPatch {
    /// Reads a patch. The signature is stored and returned later, so it must be a valid signature. What the operations
    /// otherwise change in a running container is in the configuration after the patch.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a signature, a configuration or an operation that is malformed, or for too many
    /// operations.
    pub fn read(
        prev_hash: String,
        hash: String,
        signature: &Value,
        operations: Vec<PatchOp>,
    ) -> Result<ReadPatch, Error> {
        let Signature { config: text, requirements_file_requirements: lines, .. } =
            wire::read("`next_signature`", signature)?;
        if operations.len() > OPERATIONS_MAX {
            let why = format!("must be at most {OPERATIONS_MAX} operations: push the model again");
            return Err(Error::field("patch_ops", &why));
        }
        let requires = operations.iter().any(|operation| operation.kind == "python_requirement");
        let requirements: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut changes = Vec::new();
        for operation in operations {
            changes.extend(change(operation)?);
        }
        changes.push(Change {
            folder: Folder::Top,
            path: "config.yaml".to_owned(),
            content: Some(BASE64_STANDARD.encode(&text)),
        });
        Ok(ReadPatch {
            prev_hash,
            config: wire::yaml::read_config(&text).map_err(|why| Error::field("config", &why))?,
            changes,
            requirements: requires.then(|| BASE64_STANDARD.encode(requirements)),
            next: Content { hash, signature: signature.to_string() },
        })
    }

    /// The patch for a deployment with this configuration, which names the folders and the file of requirements.
    pub fn of(self, config: &Map<String, Value>) -> Patch {
        let name = |field: &str| config.get(field).and_then(Value::as_str);
        let requirements = name("requirements_file").zip(self.requirements);
        let path = |change: &Change| match change.folder {
            Folder::Top => change.path.clone(),
            Folder::Model => format!("{}/{}", name("model_module_dir").unwrap_or("model"), change.path),
            Folder::Packages => format!("{}/{}", name("bundled_packages_dir").unwrap_or("packages"), change.path),
        };
        let changes =
            self.changes.into_iter().map(|change| FileChange { path: path(&change), content: change.content });
        let of_requirements =
            requirements.map(|(path, lines)| FileChange { path: path.to_owned(), content: Some(lines) });
        Patch {
            prev_hash: self.prev_hash,
            next: self.next,
            config: self.config,
            changes: changes.chain(of_requirements).collect(),
        }
    }
}

/// The change that an operation makes in the archive. `None` if it changes only the configuration.
fn change(operation: PatchOp) -> Result<Option<Change>, Error> {
    match operation.kind.as_str() {
        "model_code" => file_change(Folder::Model, operation).map(Some),
        "package" => file_change(Folder::Packages, operation).map(Some),
        "config" | "environment_variable" | "external_data" | "system_package" | "python_requirement" => Ok(None),
        "data" => Err(Error::field("patch_ops", "cannot change data: push the model again")),
        other => {
            let other = quoted(other);
            let why = format!("has an operation of type `{other}`, which is not known here: push the model again");
            Err(Error::field("patch_ops", &why))
        }
    }
}

/// The change of a file. A value in the operation itself takes precedence over the value in its body.
fn file_change(folder: Folder, operation: PatchOp) -> Result<Change, Error> {
    let body = operation.body.map(|body| *body);
    let (in_body, path, text, bytes) = match body {
        Some(body) => (Some(body.action), body.path, body.content, body.content_bytes),
        None => (None, None, None, None),
    };
    let path = operation.path.or(path).ok_or_else(|| Error::field("patch_ops.path", "must be given"))?;
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::field("patch_ops.path", "must stay inside its folder"));
    }
    // The folder that contains the file adds at least one level.
    if path.len() > PATH_BYTES_MAX || path.split('/').count() >= PATH_DEPTH_MAX {
        let why = format!("must have at most {PATH_BYTES_MAX} bytes and {PATH_DEPTH_MAX} levels with its folder");
        return Err(Error::field("patch_ops.path", &why));
    }
    let action = operation.action.or(in_body);
    let (bytes, text) = (operation.content_bytes.or(bytes), operation.content.or(text));
    let content = match (action.as_deref(), bytes, text) {
        (Some("REMOVE"), _, _) => None,
        (Some("ADD" | "UPDATE"), Some(bytes), _) => match BASE64_STANDARD.decode(&bytes) {
            Ok(_) => Some(bytes),
            Err(_) => return Err(Error::field("patch_ops.content_bytes", "must be base 64")),
        },
        (Some("ADD" | "UPDATE"), None, Some(text)) => Some(BASE64_STANDARD.encode(text)),
        (Some("ADD" | "UPDATE"), None, None) => return Err(Error::field("patch_ops.content", "must be given")),
        (Some(_) | None, _, _) => return Err(Error::field("patch_ops.action", "must be ADD, UPDATE or REMOVE")),
    };
    Ok(Change { folder, path, content })
}
