//! The section of files: how many are in each state, and their faults line by line.

use super::super::html::Html;
use super::asked::Asked;
use super::parts::{begin_table, write_badge};
use crate::control::{FaultStatus, FileStatus, Status};

pub(super) fn write(html: &mut Html, asked: &Asked, status: &Status) {
    html.raw("<section id=\"files\" aria-labelledby=\"files-title\"><h2 id=\"files-title\">Files</h2>\n<ul class=\"counts\">");
    let counts = status.counts;
    let counts =
        [("ok", counts.ok), ("stale", counts.stale), ("rejected", counts.rejected), ("expired", counts.expired)];
    for (state, count) in counts {
        html.raw("<li>");
        write_badge(html, state);
        html.raw(" ").text(count).raw("</li>");
    }
    html.raw("</ul>\n<form action=\"/#files\" method=\"get\" data-section=\"files\"><div class=\"fields\">");
    asked.write_others(html, &["files", "files-after"]);
    html.raw("<label>Show <select name=\"files\">");
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
        let columns = ["File", "State", "Faults and warnings"];
        begin_table(html, "Files and their faults", "Files and their faults, line by line", &columns);
        for file in &status.files {
            write_file(html, file);
        }
        html.raw("</tbody></table></div>\n");
    }
    asked.write_pages(html, ("files-after", &asked.files_after), status.next.as_deref(), "files");
    html.raw("</section>\n");
}

fn write_file(html: &mut Html, file: &FileStatus) {
    html.element(
        "<tr role=\"row\"><th scope=\"row\" role=\"rowheader\"><code>",
        &file.file,
        "</code></th><td role=\"cell\">",
    );
    write_badge(html, file.state.word());
    html.raw("</td>");
    if file.faults.is_empty() && file.warnings.is_empty() {
        html.raw("<td role=\"cell\" class=\"none\">none");
    } else {
        html.raw("<td role=\"cell\" class=\"wide\"><ul class=\"faults\">");
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

/// Which files can be chosen.
const SHOWN: [(&str, &str); 6] = [
    ("faulty", "with faults or warnings"),
    ("all", "all"),
    ("ok", "ok"),
    ("stale", "stale: the last good version is used"),
    ("rejected", "rejected: nothing of it is used"),
    ("expired", "expired: a lease ran out"),
];
