//! One page of a long list, and the links to the pages beside it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::console::context::{PageContext, ROWS_MAX};
use crate::console::view;
use crate::wire;

/// The links below a list.
pub struct Pager {
    pub words: String,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl Pager {
    /// Cuts the page that `?page=` asks for out of a whole list.
    pub fn of<T>(ctx: &PageContext, mut rows: Vec<T>, noun: &str) -> (Vec<T>, Pager) {
        let total = rows.len();
        let pages = total.div_ceil(ROWS_MAX).max(1);
        let page = ctx.query("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
        let shown: Vec<T> = rows.drain(..).skip((page - 1) * ROWS_MAX).take(ROWS_MAX).collect();
        let link = |page: usize| format!("{}?{}page={page}", ctx.own_path(), kept(ctx));
        let words = match pages {
            1 => view::plural(&total, noun),
            _ => format!("{}, page {page} of {pages}", view::plural(&total, noun)),
        };
        let pager =
            Pager { words, previous: (page > 1).then(|| link(page - 1)), next: (page < pages).then(|| link(page + 1)) };
        (shown, pager)
    }

    /// The links of a list that the database reads page by page. `next` is the place at which the next page begins.
    pub fn by_cursor(ctx: &PageContext, list: &str, next: Option<&str>) -> Pager {
        let is_first = ctx.query("cursor").is_empty();
        let next = next.map(|place| format!("{}?{}cursor={}", ctx.own_path(), kept(ctx), wire::cursor(list, place)));
        let first = format!("{}?{}", ctx.own_path(), kept(ctx));
        Pager {
            words: String::new(),
            previous: (!is_first).then(|| first.trim_end_matches(['?', '&']).to_owned()),
            next,
        }
    }

    /// A link to another path with the filters of the query.
    pub fn link(ctx: &PageContext, path: &str) -> String {
        format!("{path}?{}", kept(ctx)).trim_end_matches(['?', '&']).to_owned()
    }

    pub fn is_needed(&self) -> bool {
        self.previous.is_some() || self.next.is_some()
    }
}

/// The filters of the query, which the links keep.
fn kept(ctx: &PageContext) -> String {
    let passing = ["page", "cursor", "dialog", "about", "done"];
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = ctx.request.query.iter().filter(|(name, value)| !passing.contains(&name.as_str()) && !value.is_empty());
    pairs.map(|(name, value)| format!("{}={}&", encoded(name), encoded(value))).collect()
}
