//! Word documents and PowerPoint presentations (ECMA-376).

use std::collections::HashMap;

use super::{
    MOST_LISTED,
    flow::{Dialect, Flow},
    package::{Package, Relation},
    xml::{Element, Node},
};
use crate::understand::text::Page;

/// Styles read of one document.
const MOST_STYLES: usize = 10_000;

/// The text of a document, with what stands at the head and at the foot of its pages and its notes after it.
pub fn document(package: &mut Package) -> Result<Option<String>, String> {
    let main = package.main()?;
    let relations = package.relations(&main)?;
    let styles = match relations.iter().find(|relation| relation.is("styles")) {
        Some(styles) => headings(package, &styles.target)?,
        None => HashMap::new(),
    };
    let mut page = Page::default();
    let Some(mut xml) = package.xml(&main)? else { return Err("the document is broken: its main part is missing".to_owned()) };
    Flow::new(Dialect::OpenXml, &styles, &mut page).read(&mut xml)?;
    drop(xml);
    let mut known = Vec::new();
    for relation in relations.iter().filter(|relation| is_beside(relation)) {
        let mut beside = Page::default();
        if let Some(mut xml) = package.xml(&relation.target)? {
            Flow::new(Dialect::OpenXml, &styles, &mut beside).read(&mut xml)?;
        }
        // The same head is often kept for first, left and right pages.
        if let Some(text) = beside.finish().filter(|text| !known.contains(text)) {
            page.push(&format!("\n---\n\n{text}\n\n"));
            known.push(text);
        }
        if page.is_full() {
            break;
        }
    }
    Ok(page.finish())
}

fn is_beside(relation: &Relation) -> bool {
    ["header", "footer", "footnotes", "endnotes"].iter().any(|kind| relation.is(kind))
}

/// Levels of headings by the ids of styles, 0 for items of lists. Names of styles are English in every language, their
/// ids are not.
fn headings(package: &mut Package, path: &str) -> Result<HashMap<String, usize>, String> {
    let mut levels = HashMap::new();
    let Some(mut xml) = package.xml(path)? else { return Ok(levels) };
    let mut style = None;
    while let Some(node) = xml.next()? {
        let Node::Start(element) = node else { continue };
        match element.name.as_str() {
            "style" => style = element.get("styleId").map(str::to_owned),
            "name" | "outlineLvl" => {
                if let (Some(id), Some(level)) = (&style, level(&element)) {
                    levels.entry(id.clone()).or_insert(level);
                }
            }
            _ => {}
        }
        if levels.len() == MOST_STYLES {
            break;
        }
    }
    Ok(levels)
}

fn level(element: &Element) -> Option<usize> {
    if element.name == "outlineLvl" {
        return element.number("val").filter(|level| *level < 6).map(|level| level + 1);
    }
    match element.get("val")?.to_lowercase().as_str() {
        "title" => Some(1),
        name if name.starts_with("list bullet") || name.starts_with("list number") => Some(0),
        name => name.strip_prefix("heading ")?.trim().parse().ok().filter(|level| (1..=6).contains(level)),
    }
}

/// The texts of slides, in their order, with a heading for each.
pub fn presentation(package: &mut Package) -> Result<Option<String>, String> {
    let main = package.main()?;
    let relations = package.relations(&main)?;
    let mut slides = Vec::new();
    if let Some(mut xml) = package.xml(&main)? {
        while let Some(node) = xml.next()? {
            if let Node::Start(element) = node
                && element.name == "sldId"
                && slides.len() < MOST_LISTED
                && let Some(relation) = relations.iter().find(|relation| Some(relation.id.as_str()) == element.relation())
            {
                slides.push(relation.target.clone());
            }
        }
    }
    let styles = HashMap::new();
    let mut page = Page::default();
    for (at, slide) in slides.iter().enumerate() {
        let Some(mut xml) = package.xml(slide)? else { continue };
        page.push(&format!("## Slide {}\n\n", at + 1));
        Flow::new(Dialect::OpenXml, &styles, &mut page).read(&mut xml)?;
        // A list may be the last thing on it.
        page.push("\n");
        if page.is_full() {
            break;
        }
    }
    Ok(page.finish())
}
