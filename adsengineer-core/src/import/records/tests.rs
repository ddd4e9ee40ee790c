use super::*;
use proptest::prelude::*;

fn rows(text: &[u8], cut: Cut) -> Result<Vec<(u64, Vec<String>)>, Finding> {
    let mut records = Records::new(Text::open(text, None)?);
    records.cut(cut);
    let mut all = Vec::new();
    while let Some(record) = records.next()? {
        assert_eq!(record.len(), record.iter().count());
        all.push((record.row, record.iter().map(str::to_owned).collect()));
    }
    Ok(all)
}

fn csv(text: &str) -> Vec<(u64, String)> {
    let all = rows(text.as_bytes(), Cut::Cells(b',')).unwrap_or_else(|f| panic!("{f}"));
    all.into_iter().map(|(row, cells)| (row, cells.join("|"))).collect()
}

fn expected(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
    rows.iter().map(|(row, cells)| (*row, (*cells).to_owned())).collect()
}

#[test]
fn all_line_breaks_end_rows_and_blank_lines_count() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["a,b", "", "c,d", ",", " ", "e,f"].join(end);
        assert_eq!(csv(&text), expected(&[(1, "a|b"), (3, "c|d"), (6, "e|f")]), "{end:?}");
        assert_eq!(csv(&format!("{text}{end}")), expected(&[(1, "a|b"), (3, "c|d"), (6, "e|f")]), "{end:?}");
    }
    assert!(csv("").is_empty());
}

#[test]
fn quoted_cells_keep_separators_quotes_and_line_breaks_and_count_as_one_row() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["\"a,1\",b", "\"two\nlines\",\"say \"\"hi\"\"\"", "x,y", "\"\",z", "last,\"q\""].join(end);
        let all = expected(&[(1, "a,1|b"), (2, "two\nlines|say \"hi\""), (3, "x|y"), (4, "|z"), (5, "last|q")]);
        assert_eq!(csv(&text), all, "{end:?}");
        assert_eq!(csv(&format!("{text}{end}")), all, "{end:?}");
    }
}

#[test]
fn records_across_buffer_boundaries_arrive_whole() {
    let line = format!("{},\"b\nb\",{}\r\n", "a".repeat(700), "c".repeat(300));
    let text = line.repeat(2000);
    let all = csv(&text);
    assert_eq!(all.len(), 2000);
    assert!(all.iter().zip(1..).all(|((row, cells), i)| *row == i && cells.len() == 1005));
}

#[test]
fn a_quote_that_is_never_closed_is_found_at_its_row() {
    let fault = |text: &str| rows(text.as_bytes(), Cut::Cells(b',')).map_err(|f| (f.code, f.row));
    assert_eq!(fault("a,b\nc,\"d\ne,f\n"), Err((Code::UnclosedQuote, Some(2))));
    assert_eq!(fault(&format!("a,b\n\"{}", "x\n".repeat(800_000))), Err((Code::RowTooLong, Some(2))));
    assert_eq!(fault("a,b\nc,\"d").map(|rows| rows.len()), Ok(2));
}

#[test]
fn a_row_that_the_file_cuts_short_says_so() {
    let cut = |text: &str| {
        let mut records = Records::new(Text::open(text.as_bytes(), None).unwrap());
        let mut last = false;
        while let Some(record) = records.next().unwrap() {
            last = record.cut;
        }
        last
    };
    assert!(cut("a,b\nc,d") && cut("a,b\nc,\"d") && cut("a,b\nc,\"d\""));
    assert!(!cut("a,b\nc,d\n") && !cut("a,b\nc,\"d\"\n"));
}

#[test]
fn bytes_that_are_no_text_are_located_by_row_and_offset() {
    let fault = rows(b"a,b\n\"x\ny\",c\nM\xfcller,d\n", Cut::Cells(b',')).unwrap_err();
    assert_eq!((fault.code, fault.row), (Code::UndecodableBytes, Some(3)));
    assert!(fault.reason.contains("offset 13"), "{}", fault.reason);
    assert!(rows(b"a\n\"M\xfcller\"\n", Cut::Cells(b',')).is_err());
}

proptest! {
    #[test]
    fn cells_are_those_that_the_csv_crate_finds(text in "[ab,\"\r\n]{0,60}") {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let theirs: Vec<Vec<String>> = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
        // Rows without contents are blank to us, and a quote left open over lines is a fault.
        let filled = |cells: &Vec<String>| cells.iter().any(|cell| !cell.is_empty());
        let theirs: Vec<_> = theirs.into_iter().filter(filled).collect();
        match rows(text.as_bytes(), Cut::Cells(b',')) {
            Ok(ours) => {
                let ours: Vec<_> = ours.into_iter().map(|(_, cells)| cells).filter(filled).collect();
                prop_assert_eq!(ours, theirs);
            }
            Err(fault) => prop_assert_eq!(fault.code, Code::UnclosedQuote),
        }
    }
}

#[test]
fn lines_are_cut_only_at_line_breaks() {
    let mut records = Records::new(Text::open(&b"{\"a\":\"x,\\\"y\"}\n\n {}"[..], None).unwrap());
    records.cut(Cut::Lines);
    let mut lines = Vec::new();
    while let Some(record) = records.next().unwrap() {
        lines.push((record.row, record.line().to_owned()));
    }
    assert_eq!(lines, [(1, "{\"a\":\"x,\\\"y\"}".to_owned()), (3, " {}".to_owned())]);
}
