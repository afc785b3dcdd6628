//! Patches of a development deployment over HTTP.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::db::deployments::patches::{self, FileChange, Patch, Verdict};
use crate::db::deployments::progress::Content;
use crate::db::{Tx, deployments};
use crate::error::Error;
use crate::http::deployments::{find, to_patch};
use crate::http::{Ask, Reply};
use crate::model::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::policy::InTeam;
use crate::wire;
use crate::wire::deployments::{
    CreatePatch, CreatedPatch, PatchOp, PatchPoint, PatchPointWithHash, PatchesState, PatchesSynced, Signature,
    StoredSignature,
};

pub fn state(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let deployment = find(tx, team, ask)?;
    let state = patches::state(tx, &deployment)?;
    let running = state.running.ok_or_else(|| patches::why_unknown(&deployment))?;
    Ok(Reply::ok(&PatchesState {
        running_patch_point: point(&running)?,
        pending_patch_point: state.pending.as_ref().map(point).transpose()?,
    }))
}

pub fn stage(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let (model, deployment) = to_patch(tx, team, ask)?;
    let asked: CreatePatch = ask.json()?;
    let config = deployments::config(tx, &deployment)?.parsed;
    let PatchPoint { content_hashes, config: text, requirements } = asked.next_patch_point;
    let signature = json!({
        "content_hashes_by_path": content_hashes,
        "config": text,
        "requirements_file_requirements": requirements.unwrap_or_default(),
    });
    let hash = patches::hash_of(&signature);
    let changes = changes(&config, &signature, &asked.patch_ops)?;
    let next = Content { hash, signature: signature.to_string() };
    let patch = Patch { prev_hash: asked.prev_patch_hash, next, config: next_config(&signature)?, changes };
    patches::stage(tx, team, &model, &deployment, &patch)?;
    Ok(Reply::ok(&CreatedPatch { patch_point: point(&patch.next)? }))
}

pub fn sync(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let (model, deployment) = to_patch(tx, team, ask)?;
    let needs_full_deploy_reason = match patches::sync(tx, team, &model, &deployment)? {
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

/// The configuration that a patch leads to. The signature is kept and given out again, so it must be one.
pub fn next_config(signature: &Value) -> Result<Map<String, Value>, Error> {
    let signature: Signature = wire::read("`next_signature`", signature.clone())?;
    wire::yaml::read_config(&signature.config).map_err(|why| Error::field("config", &why))
}

/// What the operations of a patch do to the files of the archive. What they do to a running container besides is in the
/// configuration that the patch leads to.
pub fn changes(
    config: &Map<String, Value>,
    signature: &Value,
    operations: &[PatchOp],
) -> Result<Vec<FileChange>, Error> {
    let text = |name: &str, otherwise: &str| config.get(name).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
    let mut changes = Vec::new();
    for operation in operations {
        match operation.kind.as_str() {
            "model_code" => changes.push(file_change(&text("model_module_dir", "model"), operation)?),
            "package" => changes.push(file_change(&text("bundled_packages_dir", "packages"), operation)?),
            "config" | "environment_variable" | "external_data" | "system_package" | "python_requirement" => {}
            "data" => return Err(Error::field("patch_ops", "cannot change data: push the model again")),
            other => {
                let why = format!("has an operation of type `{other}`, which is not known here: push the model again");
                return Err(Error::field("patch_ops", &why));
            }
        }
    }
    let next = signature["config"].as_str().unwrap_or_default();
    changes.push(FileChange { path: "config.yaml".to_owned(), content: Some(BASE64_STANDARD.encode(next)) });
    let requires = operations.iter().any(|operation| operation.kind == "python_requirement");
    if let (true, Some(path)) = (requires, config.get("requirements_file").and_then(Value::as_str)) {
        let lines = signature["requirements_file_requirements"].as_array().into_iter().flatten();
        let lines: String = lines.filter_map(Value::as_str).flat_map(|line| [line, "\n"]).collect();
        changes.push(FileChange { path: path.to_owned(), content: Some(BASE64_STANDARD.encode(lines)) });
    }
    Ok(changes)
}

fn file_change(folder: &str, operation: &PatchOp) -> Result<FileChange, Error> {
    let body = operation.body.as_deref();
    let path = operation.path.as_ref().or(body.and_then(|body| body.path.as_ref()));
    let path = path.ok_or_else(|| Error::field("patch_ops.path", "must be given"))?;
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::field("patch_ops.path", "must stay inside its folder"));
    }
    let path = format!("{folder}/{path}");
    if path.len() > PATH_BYTES_MAX || path.split('/').count() > PATH_DEPTH_MAX {
        let why = format!("must have at most {PATH_BYTES_MAX} bytes and {PATH_DEPTH_MAX} levels with its folder");
        return Err(Error::field("patch_ops.path", &why));
    }
    let action = operation.action.as_deref().or(body.map(|body| body.action.as_str()));
    let text = operation.content.as_ref().or(body.and_then(|body| body.content.as_ref()));
    let bytes = operation.content_bytes.as_ref().or(body.and_then(|body| body.content_bytes.as_ref()));
    let content = match (action, bytes, text) {
        (Some("REMOVE"), _, _) => None,
        (Some("ADD" | "UPDATE"), Some(bytes), _) => match BASE64_STANDARD.decode(bytes) {
            Ok(_) => Some(bytes.clone()),
            Err(_) => return Err(Error::field("patch_ops.content_bytes", "must be base 64")),
        },
        (Some("ADD" | "UPDATE"), None, Some(text)) => Some(BASE64_STANDARD.encode(text)),
        (Some("ADD" | "UPDATE"), None, None) => return Err(Error::field("patch_ops.content", "must be given")),
        (Some(_) | None, _, _) => return Err(Error::field("patch_ops.action", "must be ADD, UPDATE or REMOVE")),
    };
    Ok(FileChange { path, content })
}
