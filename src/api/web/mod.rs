//! The page: its document and what the document loads, all of it inside the binary, so that it needs no other
//! host. Everybody may have these files; what they show is asked for with a login. Knows no figure.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::error::ApiError;
use super::state::Api;
use crate::report::plot;

/// Every address of the page leads to the same document, which then shows what the address names.
const PAGES: [&str; 11] = [
    "/",
    "/login",
    "/services",
    "/services/{name}",
    "/runs",
    "/runs/{id}",
    "/compare",
    "/models",
    "/requests",
    "/requests/{name}",
    "/trends",
];

/// Nothing but this server's own files is run or shown, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Computed at the first call.
macro_rules! tag {
    ($text:expr) => {
        LazyLock::new(|| tag_of($text))
    };
}

macro_rules! files {
    ($($name:literal $kind:ident),* $(,)?) => {
        [$(File { name: $name, kind: $kind, text: include_str!($name), tag: tag!(include_str!($name)) }),*]
    };
}

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Changes with the text.
    tag: LazyLock<String>,
}

static DOCUMENT: File = File {
    name: "index.html",
    kind: "text/html; charset=utf-8",
    text: include_str!("index.html"),
    tag: tag!(include_str!("index.html")),
};

/// The classes of plots, which reports have as well.
static PLOTS: File = File { name: "plot.css", kind: STYLE, text: plot::STYLE, tag: tag!(plot::STYLE) };

/// What the document loads beside it, below `/assets/`.
static FILES: [File; 23] = files![
    "page.css" STYLE,
    "api.js" SCRIPT,
    "comparison.js" SCRIPT,
    "dialog.js" SCRIPT,
    "dom.js" SCRIPT,
    "figures.js" SCRIPT,
    "format.js" SCRIPT,
    "history.js" SCRIPT,
    "live.js" SCRIPT,
    "login.js" SCRIPT,
    "main.js" SCRIPT,
    "models.js" SCRIPT,
    "output.js" SCRIPT,
    "parameters.js" SCRIPT,
    "progress.js" SCRIPT,
    "request.js" SCRIPT,
    "requests.js" SCRIPT,
    "results.js" SCRIPT,
    "run.js" SCRIPT,
    "run_actions.js" SCRIPT,
    "service.js" SCRIPT,
    "services.js" SCRIPT,
    "trend.js" SCRIPT,
];

/// The page's addresses. They are no endpoints, so the document of the API has none of them.
pub fn routes() -> Router<Api> {
    let pages = PAGES.into_iter().fold(Router::new(), |router, path| router.route(path, get(document)));
    pages.route("/assets/{name}", get(asset)).route("/favicon.ico", get(icon))
}

async fn document(headers: HeaderMap) -> Response {
    let mut response = file(&headers, &DOCUMENT);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// Whether somebody looks for a page, and no program for an endpoint.
pub fn is_for_people(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    wanted.is_some_and(|kinds| kinds.contains("text/html"))
}

/// The page at an address that it does not have, which it says.
pub async fn lost(headers: HeaderMap) -> Response {
    (StatusCode::NOT_FOUND, document(headers).await).into_response()
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().chain([&PLOTS]).find(|known| known.name == name) {
        Some(known) => file(&headers, known),
        None => ApiError::not_found("the page has no such file").into_response(),
    }
}

/// Browsers ask for it; the document has its own picture.
async fn icon() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Asked for anew every time, and sent anew only where it changed, so that a newer binary's page is there at once.
fn file(asked: &HeaderMap, file: &'static File) -> Response {
    let tag = file.tag.as_str();
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let fields: [(HeaderName, &str); 3] =
        [(header::CONTENT_TYPE, file.kind), (header::CACHE_CONTROL, "no-cache"), (header::ETAG, tag)];
    if known {
        (StatusCode::NOT_MODIFIED, fields).into_response()
    } else {
        (fields, file.text).into_response()
    }
}

fn tag_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{tag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that a text loads: those of `import … from` and of the document.
    fn loaded(text: &str) -> Vec<&str> {
        let imported = text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        let named = text.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        imported.chain(named).collect()
    }

    #[test]
    fn every_file_that_the_page_loads_is_in_the_binary_and_no_other_is() {
        let texts = || FILES.iter().map(|file| file.text).chain([DOCUMENT.text]);
        let mut wanted: Vec<&str> = texts().flat_map(loaded).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut known: Vec<&str> = FILES.iter().chain([&PLOTS]).map(|file| file.name).collect();
        known.sort_unstable();
        assert_eq!(wanted, known);
    }

    #[test]
    fn the_page_names_no_other_host_and_writes_no_markup_from_texts() {
        for text in FILES.iter().map(|file| file.text).chain([DOCUMENT.text]) {
            for (address, _) in text.match_indices("://") {
                let around = &text[text.floor_char_boundary(address.saturating_sub(8))..];
                assert!(around.contains("http://www.w3.org/"), "{:.80}", around);
            }
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{way} makes markup of what a model said");
            }
        }
    }
}
