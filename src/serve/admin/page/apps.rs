//! The section of apps: their names and gates, their components, and instances with state, health and lease.

use super::super::html::Html;
use super::asked::Asked;
use super::parts::{write_badge, write_codes, write_head};
use crate::control::{AppStatus, ComponentStatus, InstanceStatus, Overview};

pub(super) fn write(html: &mut Html, asked: &Asked, overview: &Overview) {
    html.raw("<section id=\"apps\" aria-labelledby=\"apps-title\"><h2 id=\"apps-title\">Apps</h2>\n");
    html.raw("<form action=\"/#apps\" method=\"get\" role=\"search\" data-section=\"apps\"><div class=\"fields\">");
    asked.write_others(html, &["search", "after"]);
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
    asked.write_pages(html, ("after", &asked.after), overview.next.as_deref(), "apps");
    html.raw("</section>\n");
}

fn write_app(html: &mut Html, app: &AppStatus) {
    html.raw("<article><h3><span class=\"quiet\">").text(&app.space).raw("/</span>").text(&app.app).raw(" ");
    write_gate(html, app);
    html.raw("</h3>\n<p>");
    match &app.written {
        Some(written) => _ = html.element("declared at <code class=\"place\">", written, "</code>"),
        None => _ = html.raw("declared nowhere: only registrations name it"),
    }
    match (app.internal_routing, &app.web) {
        (true, Some(web)) => _ = html.element("; its hostnames answer while <b>", web, "</b> is up"),
        (true, None) => _ = html.raw("; nothing in it could answer for its hostnames"),
        (false, _) => _ = html.raw("; not internally routed: its hostnames are not ours"),
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
    html.raw("\"><table role=\"table\" class=\"instances\"><caption>Instances of ").text(&app.app).raw("</caption>");
    write_head(html, &["Instance", "State", "Health", "Addresses", "Lease", "Written"]);
    for component in &app.components {
        write_component(html, component);
    }
    html.raw("</table></div></article>\n");
}

/// Says whether its hostnames answer, where it has any.
fn write_gate(html: &mut Html, app: &AppStatus) {
    if app.archived.is_some() {
        return write_badge(html, "archived");
    }
    if !app.internal_routing {
        return;
    }
    let web = app.components.iter().find(|component| Some(&component.component) == app.web.as_ref());
    write_badge(html, if web.is_some_and(|web| web.up > 0) { "open" } else { "closed" });
}

fn write_component(html: &mut Html, component: &ComponentStatus) {
    html.raw("<tbody role=\"rowgroup\"><tr role=\"row\" class=\"group\"><th scope=\"rowgroup\" role=\"rowheader\" colspan=\"6\">")
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
        html.raw("<tr role=\"row\"><td role=\"cell\" colspan=\"6\" class=\"quiet\">and ")
            .text(more)
            .raw(" more</td></tr>\n");
    }
    html.raw("</tbody>");
}

fn write_instance(html: &mut Html, component: &str, instance: &InstanceStatus) {
    html.raw("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">").text(component).raw(".").text(instance.number);
    html.raw("</th><td role=\"cell\">");
    write_badge(html, &instance.state);
    html.raw("</td>");
    let Some(written) = &instance.written else {
        html.raw(NOTHING_KNOWN).raw("</tr>\n");
        return;
    };
    html.raw("<td role=\"cell\">");
    match &*instance.health {
        // Nobody checks it, or nothing was found yet: the rule, and so nothing to look at.
        health @ "presumed" => _ = html.element("<span class=\"quiet\">", health, "</span>"),
        health => write_badge(html, health),
    }
    if let Some(reason) = &instance.reason {
        html.raw(" ").text(reason);
    }
    html.raw("</td><td role=\"cell\" class=\"wide\" data-label=\"at\">");
    write_codes(html, &instance.addresses);
    match instance.lease_s {
        Some(seconds) => _ = html.raw("</td><td role=\"cell\" data-label=\"lease\">").text(Left(seconds)),
        None => _ = html.raw("</td><td role=\"cell\" class=\"none\">none"),
    }
    html.element("</td><td role=\"cell\" class=\"wide\"><code class=\"place\">", written, "</code></td></tr>\n");
}

/// A time that is left, in the one unit that tells enough.
struct Left(u64);

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            seconds @ 0..=119 => write!(f, "{seconds} s left"),
            seconds @ 120..=7199 => write!(f, "{} min left", seconds / 60),
            seconds => write!(f, "{} h left", seconds / 3600),
        }
    }
}

const NOTHING_KNOWN: &str = "<td role=\"cell\" class=\"none\">none</td><td role=\"cell\" class=\"none\">none</td>\
                             <td role=\"cell\" class=\"none\">none</td><td role=\"cell\" class=\"none\">nowhere</td>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_lease_is_told_in_one_unit() {
        for (seconds, told) in [(0, "0 s left"), (119, "119 s left"), (120, "2 min left"), (7200, "2 h left")] {
            assert_eq!(Left(seconds).to_string(), told);
        }
    }
}
