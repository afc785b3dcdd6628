//! The style sheet, the script and the mark. Their names contain a hash of their content, so browsers keep them for good.

use std::sync::LazyLock;

use crate::api::Reply;

/// A file that pages refer to.
struct Asset {
    name: String,
    content_type: &'static str,
    content: &'static [u8],
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, content: &'static [u8]) -> Asset {
        let hash = blake3::hash(content).to_hex();
        Asset { name: format!("{stem}.{}.{ending}", &hash[..16]), content_type, content }
    }

    fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("guildhall", "css", "text/css; charset=utf-8", include_bytes!("assets/guildhall.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("guildhall", "js", "text/javascript; charset=utf-8", include_bytes!("assets/guildhall.js"))
});
static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("mark", "svg", "image/svg+xml", include_bytes!("assets/mark.svg")));

/// The path of the style sheet.
pub fn style() -> String {
    STYLE.path()
}

/// The path of the script.
pub fn script() -> String {
    SCRIPT.path()
}

/// The path of the mark, which browsers show beside the title of a page.
pub fn mark() -> String {
    MARK.path()
}

/// The file of this name, if there is one.
pub fn find(name: &str) -> Option<Reply> {
    let asset = [&*STYLE, &*SCRIPT, &*MARK].into_iter().find(|asset| asset.name == name)?;
    let mut reply = Reply::bytes(asset.content_type, asset.content.to_vec());
    reply.headers.push(("cache-control", "public, max-age=31536000, immutable".to_owned()));
    Some(reply)
}
