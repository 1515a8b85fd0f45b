use super::*;
use sessd_core::End;
use sessd_core::record::Untold;
use sessd_proto::docs::SizePolicy;
use sessd_proto::messages::EndReason;
use std::collections::BTreeMap;

#[tokio::test]
async fn what_the_database_says_is_said_in_words_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let store = Store::open(&path, 1).await.unwrap().store;
    let ask = async |sql: &'static str| sqlx::query(sql).execute(&store.pool).await.map(|_| ());
    let large = Record { command: vec!["x".repeat(1 << 20)], ..some_record(Some("large")) };
    ask("PRAGMA max_page_count = 1").await.unwrap();
    let full = store.save(&large).await.unwrap_err();
    assert_eq!(
        full.line(),
        "sessd: the database does not take it (its disk is full): make room on its disk, and try again: sessions run on"
    );
    ask("PRAGMA query_only = 1").await.unwrap();
    let locked = store.save(&some_record(Some("dev"))).await.unwrap_err().line();
    assert!(locked.contains("(it may not be written): look at the permissions"), "{locked}");
    for why in [
        sqlx::Error::PoolTimedOut,
        sqlx::Error::WorkerCrashed,
        sqlx::Error::Io(std::io::Error::from_raw_os_error(5)),
        ask("no sql").await.unwrap_err(),
    ] {
        let line = Error::from(trouble::Trouble::Sql(why)).line();
        for foreign in ["sqlx", "pool", "worker", "returned from database", "code:", "os error"] {
            assert!(!line.contains(foreign), "{line}");
        }
    }
}

fn some_record(name: Option<&str>) -> Record {
    Record {
        id: Uuid::now_v7(),
        name: name.map(str::to_owned),
        host: "box".into(),
        tags: BTreeMap::from([("gpu".into(), String::new()), ("team".into(), "ml".into())]),
        command: vec!["echo".into(), "a 'b' é".into()],
        cwd: "/tmp".into(),
        env: BTreeMap::from([("A".into(), "1".into())]),
        size: (80, 24),
        idle_timeout_ms: Some(1000),
        reap_unattended: true,
        created_at_ms: 5,
        job_id: Uuid::now_v7(),
        state: State::Running,
        delete_requested: false,
        last_active_ms: Some(6),
        place: "m:/f".into(),
        end: None,
        untold: Untold { name: true, tags: false },
        plain: true,
        owned: true,
        run_for_ms: Some(7),
        restart: Some(Uuid::now_v7()),
        size_policy: SizePolicy::Smallest,
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_costs_no_other_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let store = Store::open(&path, 1).await.unwrap().store;
    let (good, odd) = (some_record(Some("good")), some_record(Some("odd")));
    store.save_all(&[good.clone(), odd.clone()]).await.unwrap();
    for change in ["state = 'dreaming'", "size = size", "job_id = 'x'", "command = 'no json'"] {
        let sql = format!("UPDATE sessions SET {change} WHERE id = '{}'", odd.id);
        if sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&store.pool).await.is_err() {
            continue; // No such column.
        }
        assert_eq!(store.live().await.unwrap(), vec![good.clone()], "{change}");
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&store.pool).await.unwrap();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_database_that_another_program_reads_is_said_to_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    Store::open(&path, 1).await.unwrap().store.close().await;
    let mut program = std::process::Command::new("python3")
        .args([
            "-c",
            "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1])\ndb.execute('BEGIN')\n\
               print(list(db.execute('SELECT count(*) FROM sessions')),flush=True)\nsys.stdin.read()",
        ])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(program) = &mut program else { return }; // Without one there is none to be named.
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(program.stdout.take().unwrap()), &mut line)
        .unwrap();
    let why = Store::open(&path, 1).await.unwrap_err();
    drop(program.stdin.take());
    let pid = program.id().to_string();
    program.wait().unwrap();
    assert!(why.line().contains("is in use by") && why.line().contains(&pid), "{}", why.line());
    Store::open(&path, 1).await.unwrap();
}

#[tokio::test]
async fn a_record_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let store = Store::open(&path, 1).await.unwrap().store;
    let mut record = some_record(Some("dev"));
    store.save(&record).await.unwrap();
    assert_eq!(store.done().await.unwrap(), vec![]);
    store.close().await;
    let store = Store::open(&path, 1).await.unwrap().store;
    assert_eq!(store.live().await.unwrap(), vec![record.clone()]);
    record.finish(
        End { reason: EndReason::Exited, code: Some(7), signal: None, at_ms: 9, detail: "x".into() },
        20,
    );
    let screen = Screen { snapshot: b"\x1b[Hlast words".to_vec(), size: (80, 24) };
    store.save_done(&record, Some(&screen)).await.unwrap();
    assert_eq!(store.live().await.unwrap(), vec![]);
    assert_eq!(store.done().await.unwrap(), vec![record.clone()]);
    assert_eq!(store.screen(record.id).await.unwrap(), Some(screen));
    // What is remembered is what is written.
    let mut later = some_record(Some("later"));
    later.finish(
        End { reason: EndReason::Reaped, code: None, signal: None, at_ms: 15, detail: String::new() },
        20,
    );
    store.save(&later).await.unwrap();
    assert_eq!(store.done().await.unwrap(), vec![later.clone(), record.clone()]);
    *store.done.borrow_mut() = None;
    assert_eq!(store.done().await.unwrap(), vec![later.clone(), record.clone()]);
    let mut again = later.clone();
    again.begin_again(Uuid::now_v7());
    store.save(&again).await.unwrap();
    assert_eq!(store.done().await.unwrap(), vec![record.clone()]);
    store.forget(later.id).await.unwrap();
    assert_eq!(
        store.done_jobs("box").await.unwrap(),
        [(record.job_id.to_string(), record.id.to_string())].into()
    );
    assert_eq!(store.forget_done(9).await.unwrap(), vec![]);
    assert_eq!(store.forget_done(10).await.unwrap(), vec![record.clone()]);
    assert_eq!(store.done().await.unwrap(), vec![]);
    assert_eq!(store.screen(record.id).await.unwrap(), None);
}

/// Sessions that ended while no manager ran are written while the list is read for the first time.
#[tokio::test]
async fn what_ends_while_the_list_is_read_is_in_it_with_its_tags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let done = |n: i64| {
        let mut record = some_record(None);
        let end =
            End { reason: EndReason::Exited, code: Some(0), signal: None, at_ms: n, detail: String::new() };
        record.finish(end, n);
        record
    };
    let older: Vec<Record> = (10..300).map(done).collect();
    Store::open(&path, 1).await.unwrap().store.save_all(&older).await.unwrap();
    for round in 0..20 {
        let store = Store::open(&path, 1).await.unwrap().store;
        let late: Vec<Record> = (0..3).map(|n| done(1000 + 10 * round + n)).collect();
        let (read, ..) = tokio::join!(
            store.done(),
            store.save_done(&late[0], None),
            store.save_done(&late[1], None),
            store.save_done(&late[2], None),
        );
        let first = read.unwrap();
        assert!(first.iter().all(|record| record.tags.len() == 2), "no record is read without its tags");
        let list = store.done().await.unwrap();
        assert!(late.iter().all(|record| list.contains(record)), "round {round}");
        store.close().await;
    }
}

#[tokio::test]
async fn done_records_are_found_by_name_and_by_the_beginning_of_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("sessd.db"), 1).await.unwrap().store;
    let mut record = some_record(Some("dev"));
    record.finish(
        End { reason: EndReason::Exited, code: Some(7), signal: None, at_ms: 9, detail: String::new() },
        20,
    );
    store.save(&record).await.unwrap();
    let id = record.id.to_string();
    for selector in ["dev", &id, &id[..6], &id[..6].to_uppercase(), &id[30..], &id[30..].to_uppercase()] {
        assert_eq!(store.done_like(selector).await.unwrap(), vec![record.clone()], "{selector}");
    }
    for selector in ["de", "x", &id[1..6], "%", "' OR 1=1 --"] {
        assert_eq!(store.done_like(selector).await.unwrap(), vec![], "{selector}");
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_live_session() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("sessd.db"), 1).await.unwrap().store;
    let mut first = some_record(Some("dev"));
    store.save(&first).await.unwrap();
    let second = some_record(Some("dev"));
    assert_eq!(store.save(&second).await.unwrap_err().kind, Kind::NameTaken);
    store.save(&some_record(None)).await.unwrap();
    store.save(&some_record(None)).await.unwrap();
    first.delete_requested = true;
    store.save(&first).await.unwrap();
    store.save(&second).await.unwrap();
}

/// Many are ended at once, and one of them cannot be kept as it is.
#[tokio::test]
async fn changes_that_wait_for_the_disk_together_are_each_told_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let store = Store::open(&path, 1).await.unwrap().store;
    let (gone, mut ended, stays) = (some_record(None), some_record(None), some_record(None));
    store.save_all(&[gone.clone(), ended.clone()]).await.unwrap();
    let end = End { reason: EndReason::Exited, code: Some(7), signal: None, at_ms: 9, detail: "x".into() };
    ended.finish(end, 20);
    let screen = Screen { snapshot: b"last words".to_vec(), size: (80, 24) };
    let (first, second) = (some_record(Some("dev")), some_record(Some("dev")));
    let (a, b, c, d, e) = tokio::join!(
        store.save(&first),
        store.save(&second),
        store.forget(gone.id),
        store.save_done(&ended, Some(&screen)),
        store.save(&stays),
    );
    assert_eq!(b.unwrap_err().kind, Kind::NameTaken, "the other has it, and all else is so");
    for kept in [a, c, d, e] {
        kept.unwrap();
    }
    assert_eq!(store.done().await.unwrap(), vec![ended.clone()]);
    store.close().await;
    let store = Store::open(&path, 1).await.unwrap().store;
    let mut live = store.live().await.unwrap();
    live.sort_by_key(|record| record.id);
    assert_eq!(live, vec![stays, first]);
    assert_eq!(store.done().await.unwrap(), vec![ended.clone()]);
    assert_eq!(store.screen(ended.id).await.unwrap(), Some(screen));
}

#[tokio::test]
async fn a_damaged_database_is_kept_aside_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessd.db");
    let damage = b"this is no database, but somebody may still want it".repeat(100);
    std::fs::write(&path, &damage).unwrap();
    let opened = Store::open(&path, 42).await.unwrap();
    assert_eq!(std::fs::read(opened.kept_aside.unwrap()).unwrap(), damage);
    assert_eq!(opened.store.live().await.unwrap(), vec![]);
}
