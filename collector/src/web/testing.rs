//! For the tests of pages: reads markup back into elements, and fails on markup that is not well formed.

use maud::{Markup, html};

/// An element in document order.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) text: String,
}

/// The elements of a piece of markup.
#[derive(Debug)]
pub(super) struct Page(pub(super) Vec<Element>);

impl Page {
    /// Reads what `maud` writes: every attribute quoted, every element closed or void.
    pub(super) fn parse(markup: &str) -> Self {
        let mut elements: Vec<Element> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut rest = markup;
        while let Some(start) = rest.find('<') {
            add_text(&mut elements, &open, &rest[..start]);
            let end = start + tag_end(&rest[start..]);
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.starts_with('!') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                let index = open.pop().expect("a closing tag without an open element");
                assert_eq!(elements[index].name, name, "elements overlap");
                continue;
            }
            elements.push(element(tag));
            let void = ["meta", "link", "input", "br", "hr", "img"];
            if !void.contains(&elements.last().unwrap().name.as_str()) {
                open.push(elements.len() - 1);
            }
        }
        add_text(&mut elements, &open, rest);
        assert!(open.is_empty(), "an element is left open");
        Self(elements)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.0.iter().filter(move |element| element.name == name)
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// The text inside each element of that name.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).map(|element| element.text.clone()).collect()
    }

    /// All elements with that class.
    pub(super) fn class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Element> {
        self.0.iter().filter(move |element| {
            element
                .get("class")
                .is_some_and(|classes| classes.split(' ').any(|one| one == class))
        })
    }

    /// An attribute of the first element of that name.
    pub(super) fn attribute(&self, name: &str, attribute: &str) -> Option<String> {
        self.all(name).next()?.get(attribute).map(str::to_owned)
    }

    pub(super) fn has_attribute(&self, attribute: &str) -> bool {
        self.0
            .iter()
            .any(|element| element.get(attribute).is_some())
    }

    /// All text, as a reader sees it.
    pub(super) fn text(&self) -> String {
        self.0
            .first()
            .map(|element| element.text.replace('\u{a0}', " "))
            .unwrap_or_default()
    }
}

impl Element {
    pub(super) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(name, _)| name == attribute)
            .map(|(_, value)| value.as_str())
    }
}

/// The main part of a page, which a browser can draw.
pub(super) fn drawn(main: &Markup) -> Page {
    let page = Page::parse(&html! { main { (main) } }.into_string());
    assert_drawable(&page);
    page
}

/// No attribute of a chart may hold a number that a browser cannot draw.
pub(super) fn assert_drawable(page: &Page) {
    for element in &page.0 {
        for (name, value) in &element.attributes {
            let drawn = [
                "d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "points", "viewBox",
            ];
            if drawn.contains(&name.as_str()) {
                assert!(
                    !value.contains("NaN") && !value.contains("inf") && !value.contains("--"),
                    "{name}={value}"
                );
            }
        }
        if element.get("role") == Some("img") {
            assert!(!element.text.trim().is_empty(), "a chart without a title");
        }
    }
}

fn add_text(elements: &mut [Element], open: &[usize], text: &str) {
    for index in open {
        elements[*index].text.push_str(&unescape(text));
    }
}

/// The `>` that ends a tag: not one inside a quoted attribute.
fn tag_end(tag: &str) -> usize {
    let mut quoted = false;
    for (index, letter) in tag.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '>' if !quoted => return index,
            _ => {}
        }
    }
    panic!("a tag without an end: {tag}");
}

fn element(tag: &str) -> Element {
    let name_end = tag.find(' ').unwrap_or(tag.len());
    let mut attributes = Vec::new();
    let mut rest = tag[name_end..].trim_start();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let close = quoted.find('"').expect("a closing quote");
            value = unescape(&quoted[..close]);
            rest = &quoted[close + 1..];
        }
        attributes.push((name, value));
        rest = rest.trim_start();
    }
    Element {
        name: tag[..name_end].to_owned(),
        attributes,
        text: String::new(),
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}
