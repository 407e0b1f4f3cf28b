use super::*;

#[test]
fn a_query_comes_back_from_its_link() {
    let query = Query {
        text: Some("a&b=c d/é".into()),
        state: Some("Running".into()),
        page: 3,
        ..Query::of_namespace("team-a")
    };
    let link = query.link(Place::Tasks);
    assert_eq!(link, "./tasks?namespace=team-a&q=a%26b%3Dc+d%2F%C3%A9&state=Running&page=3");
    assert_eq!(Query::parse(link.split_once('?').unwrap().1), query);
}

#[test]
fn links_are_relative_and_one_level_deep() {
    for place in Place::ALL {
        let link = Query::of_namespace("../../x").link(place);
        let path = link.split_once('?').unwrap().0;
        assert!(path.starts_with("./") && path.matches('/').count() == 1, "{link}");
    }
    assert_eq!(Query { page: 1, ..Query::default() }.link(Place::Now), "./");
}

#[test]
fn what_is_empty_or_unknown_is_left_out() {
    let query = Query::parse("state=&q=++&page=0&colour=red&queue=a&queue=b");
    assert_eq!(query, Query { queue: Some("b".into()), page: 1, ..Query::default() });
    assert_eq!(Query::parse("page=-1").page, 1);
    assert_eq!(Query::parse("page=99999999999999999999999").page, 1);
}

#[test]
fn a_state_that_does_not_exist_is_told_apart_from_none() {
    let wanted = |text: &str| Query::parse(text).wanted_state();
    assert_eq!(wanted(""), None);
    assert_eq!(wanted("state=Running"), Some(Some(State::Running)));
    assert_eq!(wanted("state=running"), Some(None));
    assert_eq!(wanted("state=Unknown"), Some(None));
}

#[test]
fn pages_have_fifty_rows_and_one_beyond_the_end_is_the_last() {
    let page = |rows: usize, page: usize| {
        let query = Query { page, ..Query::default() };
        let (shown, paging) = page_of((0..rows).collect(), &query, Place::Now);
        (shown.len(), paging.first, paging.last, paging.newer.is_some(), paging.older.is_some())
    };
    assert_eq!(page(0, 1), (0, 0, 0, false, false));
    assert_eq!(page(50, 1), (50, 1, 50, false, false));
    assert_eq!(page(51, 1), (50, 1, 50, false, true));
    assert_eq!(page(51, 2), (1, 51, 51, true, false));
    assert_eq!(page(51, usize::MAX), (1, 51, 51, true, false));
    let (shown, _) = page_of((0..31).collect(), &Query::default(), Place::Queues);
    assert_eq!(shown.len(), 30, "a row of a queue has many parts");
}
