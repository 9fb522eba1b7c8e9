//! The page from its head to its foot, each section from what there is to tell.
//!
//! Tables have roles beside their elements: on a phone their rows are blocks, and would be no table to those who listen.

use super::super::html::Html;
use super::super::pages::Refusal;
use super::super::rates::{RATES, Rate};
use super::super::upstreams::UpstreamStatus;
use super::asked::Asked;
use super::{apps, files};
use crate::control::{Change, Explained, Health, Overview, Readiness, SpaceStatus, Status, Unanswered, Watching};
use crate::observe::UpstreamState;

/// What there is to tell; what cannot be had takes nothing else away.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: Result<Status, Unanswered>,
    pub(super) overview: Result<Overview, Unanswered>,
    pub(super) why: Why,
    pub(super) rates: [Rate; RATES],
    pub(super) upstreams: Vec<UpstreamStatus>,
    /// How many files are missing, while what they said still holds.
    pub(super) held: u64,
}

/// What there is to say of a caller and a name.
#[derive(Debug)]
pub(super) enum Why {
    /// Nothing was asked.
    Unasked,
    /// It cannot be asked so, or not now.
    Refused(String),
    /// This.
    Explained(Explained),
}

impl From<Result<Explained, Refusal>> for Why {
    fn from(explained: Result<Explained, Refusal>) -> Self {
        match explained {
            Ok(explained) => Self::Explained(explained),
            Err(Refusal(_, why)) => Self::Refused(why.into_owned()),
        }
    }
}

/// Writes the whole page.
pub(super) fn write(html: &mut Html, asked: &Asked, told: &Told) {
    html.raw(HEAD);
    write_state(html, told);
    html.raw(NAVIGATION);
    write_why(html, asked, &told.why);
    match &told.status {
        Ok(status) => files::write(html, asked, status),
        Err(busy) => write_missing(html, "files", "Files", *busy),
    }
    match &told.overview {
        Ok(overview) => apps::write(html, asked, overview),
        Err(busy) => write_missing(html, "apps", "Apps", *busy),
    }
    match &told.status {
        Ok(status) => write_changes(html, &status.changes),
        Err(busy) => write_missing(html, "changes", "Changes", *busy),
    }
    write_rates(html, &told.rates);
    write_upstreams(html, &told.upstreams);
    match &told.overview {
        Ok(overview) => write_spaces(html, &overview.spaces, overview.spaces_in_all),
        Err(busy) => write_missing(html, "spaces", "Spaces", *busy),
    }
    html.raw(FOOT);
}

fn write_missing(html: &mut Html, id: &'static str, title: &'static str, busy: Unanswered) {
    html.raw("<section id=\"").raw(id).raw("\"><h2>").raw(title).raw("</h2>");
    html.element("<p class=\"bad\">", busy, "</p></section>\n");
}

fn write_state(html: &mut Html, told: &Told) {
    html.raw("<div id=\"state\">");
    let Ok(status) = &told.status else {
        html.raw(
            "<p><span class=\"badge bad\">busy</span> The task that knows the files does not answer now.</p></div>\n",
        );
        return;
    };
    html.raw("<p>");
    html.raw(match status.readiness {
        Readiness::Ready => "<span class=\"badge good\">ready</span> ",
        Readiness::Starting => "<span class=\"badge warn\">starting</span> ",
    });
    html.element("generation <b>", status.generation, "</b>, ");
    html.element("serial <b>", status.serial, "</b>, ");
    html.element("from <code>", &status.directory, "</code>");
    html.raw(match status.watching {
        Watching::Events => "",
        Watching::Polling => ", <span class=\"badge warn\">polling</span> file events cannot be had",
    });
    html.raw("</p>\n");
    if let Some(frozen) = &status.frozen {
        html.raw("<p><span class=\"badge bad\">frozen</span> What is served does not change: ")
            .text(frozen)
            .raw("</p>\n");
    }
    if told.held > 0 {
        html.raw("<p><span class=\"badge warn\">held</span> ").text(told.held);
        html.raw(
            " files vanished at once, and nobody said so: what they declared is answered until the hold is over.</p>\n",
        );
    }
    let kept = status.unready.instances.iter().filter(|instance| instance.health == Health::Kept).count();
    if kept > 0 {
        html.raw(
            "<p><span class=\"badge warn\">kept</span> Every instance of a component fails its checks: they are answered all \
             the same.</p>\n",
        );
    }
    for upstream in told.upstreams.iter().filter(|upstream| upstream.state == UpstreamState::Down) {
        html.raw("<p><span class=\"badge bad\">down</span> The upstream <code>").text(&upstream.server);
        html.raw("</code> does not respond.</p>\n");
    }
    html.raw("</div>\n");
}

fn write_why(html: &mut Html, asked: &Asked, why: &Why) {
    html.raw("<section id=\"why\" aria-labelledby=\"why-title\"><h2 id=\"why-title\">Who gets what, and why</h2>\n");
    html.raw("<form action=\"/#why\" method=\"get\" data-section=\"why\"><div class=\"fields\">");
    asked.write_others(html, &["name", "type", "from"]);
    html.raw("<label>Name <input name=\"name\" required autocapitalize=\"none\" spellcheck=\"false\" value=\"");
    html.text(&asked.name).raw("\"></label>\n<label>Type <input name=\"type\" size=\"6\" list=\"types\" value=\"");
    html.text(&asked.qtype).raw("\"></label>\n<label>Caller’s address <input name=\"from\" required value=\"");
    html.text(&asked.from).raw("\"></label>\n<button>Resolve</button></div>");
    html.raw(
        "<datalist id=\"types\"><option>A<option>AAAA<option>SRV<option>PTR<option>SOA<option>TXT</datalist></form>\n",
    );
    html.raw("<div class=\"result\" aria-live=\"polite\">");
    match why {
        Why::Unasked => {
            html.raw("<p class=\"quiet\">What does the caller at this address get for this name? It is answered from what is \
                      served now, step by step, with the files and lines behind each.</p>");
        }
        Why::Refused(words) => _ = html.element("<p class=\"bad\" role=\"alert\">", words, "</p>"),
        Why::Explained(explained) => write_explained(html, explained),
    }
    html.raw("</div></section>\n");
}

fn write_explained(html: &mut Html, explained: &Explained) {
    html.element("<p>Outcome: <b>", &explained.outcome, "</b></p>\n<ol class=\"steps\">");
    for step in &explained.steps {
        html.element("<li><span class=\"subject\">", &step.subject, "</span> ").text(&step.words);
        write_place(html, step.written.as_ref());
        html.raw("</li>\n");
    }
    html.raw("</ol>\n<details open><summary>The response</summary>");
    html.element("<pre tabindex=\"0\">", &explained.response, "</pre></details>");
}

fn write_place(html: &mut Html, written: Option<&String>) {
    if let Some(written) = written {
        html.element(" <code class=\"place\">", written, "</code>");
    }
}

fn write_changes(html: &mut Html, changes: &[Change]) {
    html.raw("<section id=\"changes\" aria-labelledby=\"changes-title\"><h2 id=\"changes-title\">Changes</h2>\n");
    if changes.is_empty() {
        html.raw("<p class=\"quiet\">Nothing changed since the start.</p></section>\n");
        return;
    }
    let columns = ["Generation", "When", "Cause"];
    begin_table(html, "The last generations", "The last generations, the newest first", &columns);
    for change in changes {
        html.element("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">", change.generation, "</th>");
        html.element("<td role=\"cell\"><time>", &change.time, "</time></td>");
        html.element("<td role=\"cell\" class=\"wide\">", &change.cause, "</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn write_rates(html: &mut Html, rates: &[Rate]) {
    html.raw(
        "<section id=\"rates\" aria-labelledby=\"rates-title\"><h2 id=\"rates-title\">Rates</h2>\n\
              <table class=\"numbers\"><caption>A second, over the last ten</caption><tbody>\n",
    );
    for Rate { key, label, per_second } in rates {
        html.raw("<tr><th scope=\"row\">").raw(label).raw("</th><td data-rate=\"").raw(key).raw("\">");
        html.text(format_args!("{per_second:.1}")).raw("</td></tr>\n");
    }
    html.raw("</tbody></table></section>\n");
}

fn write_upstreams(html: &mut Html, upstreams: &[UpstreamStatus]) {
    html.raw(
        "<section id=\"upstreams\" aria-labelledby=\"upstreams-title\"><h2 id=\"upstreams-title\">Upstreams</h2>\n",
    );
    if upstreams.is_empty() {
        html.raw("<p class=\"quiet\">There are none: names that are not ours are refused.</p></section>\n");
        return;
    }
    let caption = "Who is asked about names that are not ours, and how that goes since the start";
    begin_table(html, "Upstreams", caption, &["Server", "State", "For", "Asked", "In vain", "Responds in"]);
    for upstream in upstreams {
        let UpstreamStatus { number, server, zone, state, asked, failures, response_ms } = upstream;
        html.element("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">", number, " <code>");
        html.text(server).raw("</code></th><td role=\"cell\">");
        write_badge(html, state.word());
        html.raw("</td><td role=\"cell\" data-label=\"for\">");
        match &**zone {
            "." => _ = html.raw("every name</td>"),
            zone => _ = html.element("<code>", zone, "</code></td>"),
        }
        html.element("<td role=\"cell\" data-label=\"asked\">", asked, "</td>");
        html.element("<td role=\"cell\" data-label=\"in vain\">", failures, "</td>");
        match response_ms {
            Some(ms) => {
                _ = html.element("<td role=\"cell\" data-label=\"responds in\">", format_args!("{ms:.1} ms"), "</td>")
            }
            None => _ = html.raw("<td role=\"cell\" class=\"none\">unknown</td>"),
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn write_spaces(html: &mut Html, spaces: &[SpaceStatus], in_all: u64) {
    html.raw("<section id=\"spaces\" aria-labelledby=\"spaces-title\"><h2 id=\"spaces-title\">Spaces</h2>\n");
    let columns = ["Space", "Networks", "App domains", "Discovery domains", "Written"];
    begin_table(html, "Spaces", "Who is told of what", &columns);
    for space in spaces {
        html.element("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">", &space.space, "</th>");
        html.raw("<td role=\"cell\" class=\"wide\" data-label=\"networks\">");
        write_codes(html, &space.cidrs);
        html.raw("</td><td role=\"cell\" class=\"wide\" data-label=\"apps at\">");
        write_codes(html, &space.app_domains);
        html.raw("</td><td role=\"cell\" class=\"wide\" data-label=\"discovery at\">");
        write_codes(html, &space.discovery_domains);
        html.raw("</td><td role=\"cell\" class=\"wide\">");
        match &space.written {
            Some(written) => _ = html.element("<code class=\"place\">", written, "</code>"),
            None => _ = html.raw("nowhere: the default"),
        }
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div>\n");
    let more = in_all.saturating_sub(u64::try_from(spaces.len()).unwrap_or(u64::MAX));
    if more > 0 {
        html.raw("<p class=\"quiet\">and ").text(more).raw(" more</p>");
    }
    html.raw("</section>\n");
}

/// Begins a table that scrolls by itself where it is too wide. Its roles are said, as the style of a phone makes blocks of it.
pub(super) fn begin_table(html: &mut Html, label: &'static str, caption: &'static str, columns: &[&'static str]) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"").raw(label);
    html.raw("\"><table role=\"table\"><caption>").raw(caption);
    html.raw("</caption>");
    write_head(html, columns);
    html.raw("<tbody role=\"rowgroup\">\n");
}

/// The head of a table.
pub(super) fn write_head(html: &mut Html, columns: &[&'static str]) {
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    for column in columns {
        html.raw("<th scope=\"col\" role=\"columnheader\">").raw(column).raw("</th>");
    }
    html.raw("</tr></thead>");
}

/// A list of names or addresses, as far as it fits a cell.
pub(super) fn write_codes(html: &mut Html, list: &[String]) {
    for item in list.iter().take(LISTED) {
        html.element("<code>", item, "</code> ");
    }
    let more = list.len().saturating_sub(LISTED);
    if more > 0 {
        html.raw("and ").text(more).raw(" more");
    }
}

/// A state, by its word and a colour.
pub(super) fn write_badge(html: &mut Html, word: &str) {
    html.raw(match word {
        "ok" | "up" | "open" | "passing" => "<span class=\"badge good\">",
        "stale" | "starting" | "draining" | "waiting" | "kept" | "expired" | "archived" | "closed" => {
            "<span class=\"badge warn\">"
        }
        "rejected" | "failing" | "displaced" | "down" => "<span class=\"badge bad\">",
        _ => "<span class=\"badge\">",
    });
    html.text(word).raw("</span>");
}

/// How many of a list are shown in a cell.
const LISTED: usize = 20;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>spacedns</title>\n\
                    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                    <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\
                    <link rel=\"stylesheet\" href=\"/page.css\"><script src=\"/page.js\" defer></script></head>\n<body>\
                    <a class=\"skip\" href=\"#main\">To the content</a>\n<header><h1>spacedns</h1>\n";

const NAVIGATION: &str = "<nav aria-label=\"Sections\"><a href=\"#why\">Why</a> <a href=\"#files\">Files</a> \
                          <a href=\"#apps\">Apps</a> <a href=\"#changes\">Changes</a> <a href=\"#rates\">Rates</a> \
                          <a href=\"#upstreams\">Upstreams</a> <a href=\"#spaces\">Spaces</a></nav></header>\n<main id=\"main\">\n";

const FOOT: &str = "</main>\n<footer><p>Read only. To programs: <a href=\"/status\">/status</a>, <a href=\"/apps\">/apps</a>, \
                    <a href=\"/top\">/top</a>, <a href=\"/metrics\">/metrics</a>.</p></footer></body></html>\n";
