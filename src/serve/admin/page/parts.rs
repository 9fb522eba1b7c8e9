//! The sections of the status page.

use form_urlencoded::Serializer;

use super::super::html::Html;
use super::super::pages::Refusal;
use super::super::rates::Rate;
use crate::control::{
    AppStatus, Change, ComponentStatus, Explained, FaultStatus, FileStatus, InstanceStatus, Overview, Readiness,
    SpaceStatus, Status, Unanswered, Watching,
};

/// What the page was asked for: the forms show it again.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) search: String,
    pub(super) after: String,
    pub(super) files: String,
    pub(super) files_after: String,
    pub(super) name: String,
    pub(super) qtype: String,
    pub(super) from: String,
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
pub(super) fn write(
    html: &mut Html,
    asked: &Asked,
    status: &Result<Status, Unanswered>,
    overview: &Result<Overview, Unanswered>,
    why: &Why,
    rates: impl IntoIterator<Item = Rate>,
) {
    html.raw(HEAD);
    write_state(html, status);
    html.raw(NAVIGATION);
    write_why(html, asked, why);
    match status {
        Ok(status) => write_files(html, asked, status),
        Err(busy) => write_missing(html, "files", "Files", *busy),
    }
    match overview {
        Ok(overview) => write_apps(html, asked, overview),
        Err(busy) => write_missing(html, "apps", "Apps", *busy),
    }
    match status {
        Ok(status) => write_changes(html, &status.changes),
        Err(busy) => write_missing(html, "changes", "Changes", *busy),
    }
    write_rates(html, rates);
    match overview {
        Ok(overview) => write_spaces(html, &overview.spaces, overview.spaces_in_all),
        Err(busy) => write_missing(html, "spaces", "Spaces", *busy),
    }
    html.raw(FOOT);
}

fn write_missing(html: &mut Html, id: &'static str, title: &'static str, busy: Unanswered) {
    html.raw("<section id=\"").raw(id).raw("\"><h2>").raw(title).raw("</h2>");
    html.element("<p class=\"bad\">", busy, "</p></section>\n");
}

fn write_state(html: &mut Html, status: &Result<Status, Unanswered>) {
    html.raw("<div id=\"state\">");
    let Ok(status) = status else {
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
    html.raw("</div>\n");
}

fn write_why(html: &mut Html, asked: &Asked, why: &Why) {
    html.raw("<section id=\"why\" aria-labelledby=\"why-title\"><h2 id=\"why-title\">Who gets what, and why</h2>\n");
    html.raw("<form action=\"/#why\" method=\"get\" data-section=\"why\"><div class=\"fields\">");
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

fn write_files(html: &mut Html, asked: &Asked, status: &Status) {
    html.raw("<section id=\"files\" aria-labelledby=\"files-title\"><h2 id=\"files-title\">Files</h2>\n<ul class=\"counts\">");
    let counts = status.counts;
    let counts =
        [("ok", counts.ok), ("stale", counts.stale), ("rejected", counts.rejected), ("expired", counts.expired)];
    for (state, count) in counts {
        html.raw("<li>");
        write_badge(html, state);
        html.raw(" ").text(count).raw("</li>");
    }
    html.raw(
        "</ul>\n<form action=\"/#files\" method=\"get\" data-section=\"files\"><div class=\"fields\">\
              <label>Show <select name=\"files\">",
    );
    for (word, title) in SHOWN {
        html.raw("<option value=\"").raw(word).raw("\"");
        html.raw(if asked.files == word { " selected>" } else { ">" }).raw(title).raw("</option>");
    }
    html.raw("</select></label><button>Show</button></div></form>\n");
    for (directory, fault) in &status.unread {
        html.element("<p class=\"bad\">The directory <code>", directory, "</code> cannot be read: ")
            .text(fault)
            .raw("</p>\n");
    }
    if status.files.is_empty() {
        html.raw(if asked.files == "faulty" {
            "<p class=\"quiet\">No file has a fault or a warning.</p>"
        } else {
            "<p class=\"quiet\">There are none.</p>"
        });
    } else {
        html.raw(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Files and their faults\"><table class=\"stack\" role=\"table\">\
                  <caption>Files and their faults, line by line</caption><thead role=\"rowgroup\"><tr role=\"row\"><th scope=\"col\" role=\"columnheader\">File</th>\
                  <th scope=\"col\" role=\"columnheader\">State</th><th scope=\"col\" role=\"columnheader\">Faults and warnings</th></tr></thead><tbody role=\"rowgroup\">\n",
        );
        for file in &status.files {
            write_file(html, file);
        }
        html.raw("</tbody></table></div>\n");
    }
    if let Some(next) = &status.next {
        let query =
            Serializer::new(String::new()).append_pair("files", &asked.files).append_pair("files-after", next).finish();
        html.raw("<p><a rel=\"next\" href=\"/?").text(query).raw("#files\">More files</a></p>");
    }
    html.raw("</section>\n");
}

fn write_file(html: &mut Html, file: &FileStatus) {
    html.element(
        "<tr role=\"row\"><th scope=\"row\" role=\"rowheader\"><code>",
        &file.file,
        "</code></th><td role=\"cell\">",
    );
    write_badge(html, file.state.word());
    html.raw("</td><td role=\"cell\">");
    if file.faults.is_empty() && file.warnings.is_empty() {
        html.raw("none");
    } else {
        html.raw("<ul class=\"faults\">");
        for fault in &file.faults {
            write_fault(html, "fault", fault);
        }
        for warning in &file.warnings {
            write_fault(html, "warning", warning);
        }
        html.raw("</ul>");
    }
    html.raw("</td></tr>\n");
}

fn write_fault(html: &mut Html, sort: &'static str, fault: &FaultStatus) {
    let FaultStatus { line, column, field, fault, remedy } = fault;
    html.raw("<li><span class=\"").raw(sort).raw("\">").raw(sort).raw("</span> <code>");
    html.text(line).raw(":").text(column).raw("</code> ");
    if !field.is_empty() {
        html.element("<code>", field, "</code>: ");
    }
    html.text(fault).element("<br><span class=\"quiet\">", remedy, "</span></li>");
}

fn write_apps(html: &mut Html, asked: &Asked, overview: &Overview) {
    html.raw("<section id=\"apps\" aria-labelledby=\"apps-title\"><h2 id=\"apps-title\">Apps</h2>\n");
    html.raw("<form action=\"/#apps\" method=\"get\" role=\"search\" data-section=\"apps\"><div class=\"fields\">");
    html.raw("<label>Space or app <input type=\"search\" name=\"search\" value=\"").text(&asked.search);
    html.raw("\"></label><button>Search</button></div></form>\n<p class=\"quiet\">");
    html.text(overview.apps_found).raw(" of ").text(overview.apps_in_all).raw(" apps");
    if !asked.after.is_empty() {
        html.element("; those after <code>", &asked.after, "</code>");
    }
    html.raw("</p>\n");
    for app in &overview.apps {
        write_app(html, app);
    }
    if let Some(next) = &overview.next {
        let query =
            Serializer::new(String::new()).append_pair("search", &asked.search).append_pair("after", next).finish();
        html.raw("<p><a rel=\"next\" href=\"/?").text(query).raw("#apps\">More apps</a></p>");
    }
    html.raw("</section>\n");
}

fn write_app(html: &mut Html, app: &AppStatus) {
    html.raw("<article><h3><span class=\"quiet\">").text(&app.space).raw("/</span>").text(&app.app).raw("</h3>\n<p>");
    match &app.written {
        Some(written) => _ = html.element("declared at <code class=\"place\">", written, "</code>"),
        None => _ = html.raw("declared nowhere: only registrations name it"),
    }
    match (app.internal_routing, &app.web) {
        (true, Some(web)) => _ = html.element("; its hostnames answer while <b>", web, "</b> is up"),
        (true, None) => _ = html.raw("; nothing in it could answer for its hostnames"),
        (false, _) => _ = html.raw("; not internally routed: its hostnames are not ours"),
    }
    if app.archived.is_some() {
        html.raw(", <span class=\"badge warn\">archived</span>");
    }
    html.raw("</p>\n");
    if !app.names.is_empty() {
        html.raw("<p class=\"names\">");
        for name in &app.names {
            html.element("<code>", name, "</code> ");
        }
        let more = app.names_in_all.saturating_sub(u64::try_from(app.names.len()).unwrap_or(u64::MAX));
        if more > 0 {
            html.raw("and ").text(more).raw(" more");
        }
        html.raw("</p>\n");
    }
    if app.components.is_empty() {
        html.raw("<p class=\"quiet\">It has no components.</p></article>\n");
        return;
    }
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Instances of ").text(&app.app);
    html.raw("\"><table><caption>Instances of ").text(&app.app).raw("</caption>").raw(INSTANCES);
    for component in &app.components {
        write_component(html, component);
    }
    html.raw("</table></div></article>\n");
}

fn write_component(html: &mut Html, component: &ComponentStatus) {
    html.raw("<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"6\">")
        .text(&component.component)
        .raw(" <span class=\"quiet\">");
    html.text(component.up).raw(" of ").text(component.instances_in_all).raw(" up");
    if let Some(quantity) = component.quantity {
        html.raw(", ").text(quantity).raw(" declared");
    }
    html.raw("</span></th></tr>\n");
    for instance in &component.instances {
        write_instance(html, &component.component, instance);
    }
    let more = component.instances_in_all.saturating_sub(u64::try_from(component.instances.len()).unwrap_or(u64::MAX));
    if more > 0 {
        html.raw("<tr><td colspan=\"6\" class=\"quiet\">and ").text(more).raw(" more</td></tr>\n");
    }
    html.raw("</tbody>");
}

fn write_instance(html: &mut Html, component: &str, instance: &InstanceStatus) {
    html.raw("<tr><th scope=\"row\">").text(component).raw(".").text(instance.number).raw("</th><td>");
    write_badge(html, &instance.state);
    html.raw("</td><td>");
    match &instance.written {
        Some(_) => write_badge(html, &instance.health),
        None => _ = html.raw("none"),
    }
    if let Some(reason) = &instance.reason {
        html.raw(" ").text(reason);
    }
    html.raw("</td><td>");
    for address in &instance.addresses {
        html.element("<code>", address, "</code> ");
    }
    html.raw("</td><td>");
    match instance.lease_s {
        Some(seconds) => _ = html.text(seconds).raw(" s left"),
        None => _ = html.raw("none"),
    }
    html.raw("</td><td>");
    match &instance.written {
        Some(written) => _ = html.element("<code class=\"place\">", written, "</code>"),
        None => _ = html.raw("none"),
    }
    html.raw("</td></tr>\n");
}

fn write_changes(html: &mut Html, changes: &[Change]) {
    html.raw("<section id=\"changes\" aria-labelledby=\"changes-title\"><h2 id=\"changes-title\">Changes</h2>\n");
    if changes.is_empty() {
        html.raw("<p class=\"quiet\">Nothing changed since the start.</p></section>\n");
        return;
    }
    html.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The last generations\"><table>\
              <caption>The last generations, the newest first</caption><thead><tr><th scope=\"col\">Generation</th>\
              <th scope=\"col\">When</th><th scope=\"col\">Cause</th></tr></thead><tbody>\n",
    );
    for change in changes {
        html.element("<tr><th scope=\"row\">", change.generation, "</th><td><time>");
        html.text(&change.time).raw("</time></td><td>").text(&change.cause).raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn write_rates(html: &mut Html, rates: impl IntoIterator<Item = Rate>) {
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

fn write_spaces(html: &mut Html, spaces: &[SpaceStatus], in_all: u64) {
    html.raw("<section id=\"spaces\" aria-labelledby=\"spaces-title\"><h2 id=\"spaces-title\">Spaces</h2>\n\
              <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Spaces\"><table><caption>Who is told of what</caption>\
              <thead><tr><th scope=\"col\">Space</th><th scope=\"col\">Networks</th><th scope=\"col\">App domains</th>\
              <th scope=\"col\">Discovery domains</th><th scope=\"col\">Written</th></tr></thead><tbody>\n");
    for space in spaces {
        html.element("<tr><th scope=\"row\">", &space.space, "</th>");
        for list in [&space.cidrs, &space.app_domains, &space.discovery_domains] {
            html.raw("<td>");
            for item in list.iter().take(LISTED) {
                html.element("<code>", item, "</code> ");
            }
            let more = list.len().saturating_sub(LISTED);
            if more > 0 {
                html.raw("and ").text(more).raw(" more");
            }
            html.raw("</td>");
        }
        html.raw("<td>");
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

/// A state, by its word and a colour.
fn write_badge(html: &mut Html, word: &str) {
    html.raw(match word {
        "ok" | "up" | "passing" => "<span class=\"badge good\">",
        "stale" | "starting" | "draining" | "waiting" | "kept" | "expired" => "<span class=\"badge warn\">",
        "rejected" | "failing" | "displaced" | "down" => "<span class=\"badge bad\">",
        _ => "<span class=\"badge\">",
    });
    html.text(word).raw("</span>");
}

/// Which files can be chosen.
const SHOWN: [(&str, &str); 6] = [
    ("faulty", "with faults or warnings"),
    ("all", "all"),
    ("ok", "ok"),
    ("stale", "stale: the last good version is used"),
    ("rejected", "rejected: nothing of it is used"),
    ("expired", "expired: a lease ran out"),
];

/// How many of a list are shown in a cell.
const LISTED: usize = 20;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>spacedns</title>\n\
                    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                    <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\
                    <link rel=\"stylesheet\" href=\"/page.css\"><script src=\"/page.js\" defer></script></head>\n<body>\
                    <a class=\"skip\" href=\"#main\">To the content</a>\n<header><h1>spacedns</h1>\n";

const NAVIGATION: &str = "<nav aria-label=\"Sections\"><a href=\"#why\">Why</a> <a href=\"#files\">Files</a> \
                          <a href=\"#apps\">Apps</a> <a href=\"#changes\">Changes</a> <a href=\"#rates\">Rates</a> \
                          <a href=\"#spaces\">Spaces</a></nav></header>\n<main id=\"main\">\n";

const FOOT: &str = "</main>\n<footer><p>Read only. To programs: <a href=\"/status\">/status</a>, <a href=\"/apps\">/apps</a>, \
                    <a href=\"/top\">/top</a>, <a href=\"/metrics\">/metrics</a>.</p></footer></body></html>\n";

const INSTANCES: &str = "<thead><tr><th scope=\"col\">Instance</th><th scope=\"col\">State</th><th scope=\"col\">Health</th>\
                         <th scope=\"col\">Addresses</th><th scope=\"col\">Lease</th><th scope=\"col\">Written</th></tr></thead>";
