//! Small documents, built here as office programs write them.

use std::io::Write;

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in parts {
        writer.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        writer.write_all(content.as_bytes()).expect("written");
    }
    writer.finish().expect("an archive").into_inner()
}

/// A `.rels` part: id, kind, target.
fn relations(list: &[(&str, &str, &str)]) -> String {
    let list: String =
        list.iter().map(|(id, kind, target)| format!(r#"<Relationship Id="{id}" Type="{RELATIONS}/{kind}" Target="{target}"/>"#)).collect();
    format!("<?xml version=\"1.0\"?><Relationships>{list}</Relationships>")
}

fn word(body: &str) -> Vec<u8> {
    let document = format!(r#"<w:document xmlns:w="w"><w:body>{body}</w:body></w:document>"#);
    let styles = r#"<w:styles><w:style w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style></w:styles>"#;
    archive(&[
        ("_rels/.rels", &relations(&[("rId1", "officeDocument", "/word/document.xml")])),
        (
            "word/_rels/document.xml.rels",
            &relations(&[("rId1", "styles", "styles.xml"), ("rId2", "header", "header1.xml"), ("rId3", "header", "header2.xml")]),
        ),
        ("word/styles.xml", styles),
        ("word/header1.xml", "<w:hdr><w:p><w:r><w:t>ACME Ltd</w:t></w:r></w:p></w:hdr>"),
        ("word/header2.xml", "<w:hdr><w:p><w:r><w:t>ACME Ltd</w:t></w:r></w:p></w:hdr>"),
        ("word/document.xml", &document),
    ])
}

fn text(findings: Result<Findings, String>) -> String {
    findings.expect("findings").transcription.expect("text")
}

#[test]
fn a_word_document() {
    let body = r#"<w:p><w:pPr><w:pStyle w:val="berschrift2"/><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>Offer</w:t></w:r></w:p>
        <w:p><w:r><w:t xml:space="preserve">R&amp;D </w:t></w:r><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr><w:ilvl w:val="0"/></w:numPr></w:pPr><w:r><w:t>one</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr><w:ilvl w:val="1"/></w:numPr></w:pPr><w:r><w:t>two</w:t></w:r></w:p>
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Item</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Price</w:t></w:r></w:p></w:tc></w:tr>
        <w:tr><w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr><w:p><w:r><w:t>x|y</w:t></w:r></w:p><w:p><w:r><w:t>z</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
        <w:p><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></mc:Choice><mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:p>"#;
    assert_eq!(
        text(docx(&word(body))),
        "## Offer\n\nR&D a\tb\nc\n\n- one\n  - two\n\n| Item | Price |\n| --- | --- |\n| x\\|y<br>z |  |\n\nbox\n\n\n---\n\nACME Ltd"
    );
}

fn workbook(sheets: &[(&str, &str)]) -> Vec<u8> {
    let names: String = sheets.iter().enumerate().map(|(at, (name, _))| format!(r#"<sheet name="{name}" sheetId="{at}" r:id="s{at}"/>"#)).collect();
    let hidden = r#"<sheet name="h" sheetId="9" state="hidden" r:id="s0"/>"#;
    let workbook = format!("<workbook><workbookPr/><sheets>{names}{hidden}</sheets></workbook>");
    let paths: Vec<(String, String)> = (0..sheets.len()).map(|at| (format!("s{at}"), format!("worksheets/sheet{at}.xml"))).collect();
    let mut listed: Vec<(&str, &str, &str)> = paths.iter().map(|(id, path)| (id.as_str(), "worksheet", path.as_str())).collect();
    listed.extend([("t", "sharedStrings", "sharedStrings.xml"), ("y", "styles", "styles.xml")]);
    let (top, book) = (relations(&[("rId1", "officeDocument", "xl/workbook.xml")]), relations(&listed));
    let contents: Vec<(String, String)> = sheets
        .iter()
        .zip(&paths)
        .map(|((_, rows), (_, path))| (format!("xl/{path}"), format!("<x:worksheet><x:sheetData>{rows}</x:sheetData></x:worksheet>")))
        .collect();
    let mut parts = vec![
        ("_rels/.rels", top.as_str()),
        ("xl/workbook.xml", &workbook),
        ("xl/_rels/workbook.xml.rels", &book),
        ("xl/sharedStrings.xml", "<sst><si><t>Date</t></si><si><r><t>Su</t></r><r><t>m</t></r><rPh><t>no</t></rPh></si></sst>"),
        (
            "xl/styles.xml",
            r#"<styleSheet><numFmts><numFmt numFmtId="164" formatCode="dd.mm.yyyy"/></numFmts><cellStyleXfs><xf numFmtId="9"/></cellStyleXfs>
                <cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>"#,
        ),
    ];
    parts.extend(contents.iter().map(|(path, content)| (path.as_str(), content.as_str())));
    archive(&parts)
}

const ROWS: &str = r#"<x:row r="1"><x:c r="A1" t="s"><x:v>0</x:v></x:c><x:c r="C1" t="s"><x:v>1</x:v></x:c></x:row><x:row r="2"/>
    <x:row r="9"><x:c r="A9" s="1"><x:v>45292</x:v></x:c><x:c t="b"><x:v>1</x:v></x:c><x:c><x:f>1+1</x:f><x:v>0.10000000000000001</x:v></x:c></x:row>
    <x:row r="10"><x:c r="A10" t="inlineStr"><x:is><x:t>in &lt;line</x:t></x:is></x:c><x:c r="D10" t="e"><x:v>#N/A</x:v></x:c></x:row>"#;

#[test]
fn a_workbook() {
    let wanted = [vec!["Date", "", "Sum"], vec!["2024-01-01", "TRUE", "0.1"], vec!["in <line", "", "", "#N/A"]];
    let found = xlsx(&workbook(&[("One", ROWS), ("Empty", "")])).expect("findings");
    assert_eq!((found.transcription, found.table.expect("a table")), (None, wanted.map(|row| row.into_iter().map(str::to_owned).collect()).to_vec()));
    let found = xlsx(&workbook(&[("One", ROWS), ("Two", r#"<row><c><v>7</v></c></row>"#)])).expect("findings");
    assert_eq!(found.table.map(|rows| rows.len()), Some(3));
    let text = found.transcription.expect("text");
    assert!(text.starts_with("## One\n\n| Date |  | Sum |  |\n") && text.ends_with("## Two\n\n| 7 |\n| --- |"), "{text}");
}

#[test]
fn a_presentation() {
    let slide = |title: &str, text: &str| {
        format!(
            r#"<p:sld><p:sp><p:nvPr><p:ph type="ctrTitle"/></p:nvPr><a:p><a:r><a:t>{title}</a:t></a:r></a:p></p:sp>
                <p:sp><a:p><a:r><a:t>{text}</a:t></a:r><a:br/><a:r><a:t>more</a:t></a:r></a:p></p:sp></p:sld>"#
        )
    };
    let bytes = archive(&[
        ("_rels/.rels", &relations(&[("rId1", "officeDocument", "ppt/presentation.xml")])),
        (
            "ppt/presentation.xml",
            r#"<p:presentation><p:sldIdLst><p:sldId id="256" r:id="b"/><p:sldId id="257" r:id="a"/></p:sldIdLst></p:presentation>"#,
        ),
        ("ppt/_rels/presentation.xml.rels", &relations(&[("a", "slide", "slides/slide1.xml"), ("b", "slide", "./slides/../slides/slide2.xml")])),
        ("ppt\\slides\\Slide1.xml", &slide("Second", "b")),
        ("ppt/slides/slide2.xml", &slide("First", "a")),
    ]);
    assert_eq!(text(pptx(&bytes)), "## Slide 1\n\n### First\n\na\nmore\n\n\n## Slide 2\n\n### Second\n\nb\nmore");
}

#[test]
fn open_documents() {
    let content = r#"<office:document-content><office:body><office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>
        <text:h text:outline-level="1">Offer</text:h><text:p>one
            <text:span>two</text:span><text:s text:c="2"/>three<text:line-break/>four</text:p>
        <text:list><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>b</text:p></text:list-item></text:list></text:list-item></text:list>
        <table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell><table:table-cell><text:p>y</text:p></table:table-cell></table:table-row></table:table>
        </office:text></office:body></office:document-content>"#;
    assert_eq!(
        text(open_document(&archive(&[("content.xml", content)]))),
        "# Offer\n\none two  three\nfour\n\n- a\n  - b\n\n| x | y |\n| --- | --- |"
    );
    let content = "<b><draw:page><text:p>a</text:p></draw:page><draw:page><text:p>b</text:p><presentation:notes><text:p>no</text:p></presentation:notes></draw:page></b>";
    assert_eq!(text(open_document(&archive(&[("content.xml", content)]))), "## Slide 1\n\na\n\n## Slide 2\n\nb");
    let content = r#"<table:table table:name="T"><table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>x</text:p></table:table-cell>
        <table:table-cell office:value-type="float" office:value="1234.5"><text:p>1.234,50 €</text:p></table:table-cell>
        <table:table-cell table:number-columns-repeated="16381"/></table:table-row>
        <table:table-row table:number-rows-repeated="1048575"><table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>"#;
    let found = ods(&archive(&[("content.xml", content)])).expect("findings");
    assert_eq!((found.transcription, found.table), (None, Some(vec![["x", "x", "1234.5"].map(str::to_owned).to_vec()])));
}

#[test]
fn bombs() {
    let run = "<w:p><w:r><w:t>a</w:t></w:r></w:p>";
    // What matters is read, and the rest is not even decompressed.
    let long = text(docx(&word(&format!("<w:p><w:r><w:t>{}</w:t></w:r></w:p>", "a".repeat(2 * MOST)))));
    assert_eq!(long.chars().count(), MOST + 1 + super::super::text::CUT.chars().count());
    // Nothing to keep, but a lot to decompress, and that again and again.
    let heads = [("a", "header", "head.xml"); 9];
    let empty = archive(&[
        ("_rels/.rels", &relations(&[("a", "officeDocument", "main.xml")])),
        ("_rels/main.xml.rels", &relations(&heads)),
        ("main.xml", "<document/>"),
        ("head.xml", &" ".repeat(8_000_000)),
    ]);
    assert!(empty.len() < 20_000);
    assert!(docx(&empty).expect_err("too large").contains("64 MB"));
    let laughs = archive(&[("content.xml", r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x><text:p>&b;</text:p></x>"#)]);
    assert_eq!(text(open_document(&laughs)), "&b;");
    assert!(docx(&word(&"<w:p>".repeat(1000))).expect_err("deep").contains("deeply"));
    let copies = r#"<table:table><table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384"><text:p>LONG</text:p>
        </table:table-cell></table:table-row></table:table>"#
        .replace("LONG", &"a".repeat(1_000_000));
    assert!(
        ods(&archive(&[("content.xml", &copies)])).expect("findings").table.expect("a table").iter().flatten().map(String::len).sum::<usize>()
            < 2 * MOST
    );
    let crowded = [word(run), b"PK\x01\x02".repeat(20_000)].concat();
    assert!(docx(&crowded).expect_err("too many").contains("20000"));
    assert!(docx(&word(run)).is_ok());
}

#[test]
fn broken_documents() {
    let whole = workbook(&[("One", ROWS)]);
    assert!(xlsx(&whole[..whole.len() / 2]).is_err());
    assert!(docx(&whole).is_ok_and(|found| found.transcription.is_none()));
    assert!(docx(b"\xD0\xCF\x11\xE0 and so on").expect_err("old").contains("password"));
    assert!(docx(b"%PDF").is_err());
    assert!(docx(&archive(&[("a", "b")])).is_err());
    assert!(ods(&archive(&[("a", "b")])).is_err());
    assert!(docx(&word("<w:p></w:r>")).expect_err("broken").contains("broken"));
    // No byte of a document may be the end of us.
    for at in (0..whole.len()).step_by(7) {
        let mut mutant = whole.clone();
        mutant[at] ^= 0xFF;
        let _ = xlsx(&mutant);
    }
}
