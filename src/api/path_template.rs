//! Path templates of routes. `{name}` stands for a segment that may have any value, `{name...}` at the end for any number
//! of them.

/// A template, split into its segments.
#[derive(Debug)]
pub struct PathTemplate {
    pub text: &'static str,
    segments: Vec<&'static str>,
}

impl PathTemplate {
    pub fn new(text: &'static str) -> PathTemplate {
        PathTemplate { text, segments: text.trim_start_matches('/').split('/').collect() }
    }

    /// The index of the segment `{name}`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| free_name(segment) == Some(name))
    }

    pub fn matches(&self, path: &[String]) -> bool {
        let (segments, has_length) = match self.segments.split_last() {
            Some((last, before)) if is_rest(last) => (before, path.len() >= before.len()),
            Some(_) | None => (self.segments.as_slice(), path.len() == self.segments.len()),
        };
        has_length && segments.iter().zip(path).all(|(segment, given)| free_name(segment).is_some() || segment == given)
    }

    /// How many segments of the path a `{name...}` at the end stands for.
    pub fn rest_count(&self, path: &[String]) -> usize {
        match self.segments.split_last() {
            Some((last, before)) if is_rest(last) => path.len().saturating_sub(before.len()),
            Some(_) | None => 0,
        }
    }
}

fn is_rest(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with("...}")
}

/// The name of a free segment: `name` for `{name}`.
fn free_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The names of the free segments, in order.
pub fn parameters(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(free_name)
}
