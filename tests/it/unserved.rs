//! Does what is not served say so?

use std::collections::BTreeSet;

use guildhall::http::Door;
use guildhall::http::routes::{Answer, ROUTES, Route, find};
use guildhall::http::unserved::UNSERVED;

use crate::house::House;
use crate::org::{Org, Teams};

/// The template with the names of its places taken out.
fn bare(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What a request for this method and path finds.
fn found(house: &House, method: &str, template: &str) -> &'static Route {
    let mut request = house.request(None, method, &bare(template).replace("{}", "something"), Vec::new());
    request.from = Door::Operator;
    find(&request).unwrap_or_else(|cause| panic!("{method} {template}: {cause}")).route
}

#[test]
fn every_route_of_baseten_is_served_or_says_that_it_is_not() {
    let house = House::empty();
    let lines = include_str!("data/baseten_routes.txt").lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (method, template) = line.split_once(' ').unwrap();
        assert_eq!(bare(found(&house, method, template).template), template, "{line}");
        count += 1;
    }
    assert_eq!(count, 260);
}

#[test]
fn no_route_stands_twice_and_none_stands_before_another() {
    let house = House::empty();
    let mut seen = BTreeSet::new();
    for route in ROUTES.iter().chain(UNSERVED) {
        assert!(seen.insert((route.method, bare(route.template))), "{} {} twice", route.method, route.template);
        let first = found(&house, route.method, route.template);
        assert_eq!((first.method, first.template), (route.method, route.template));
    }
    assert!(UNSERVED.iter().all(|route| matches!(route.answer, Answer::Unserved)));
}

#[test]
fn it_names_itself_to_who_has_a_key() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::Off);
    for route in ROUTES.iter().chain(UNSERVED).filter(|route| matches!(route.answer, Answer::Unserved)) {
        let target = bare(route.template).replace("{}", "something");
        house.send(None, route.method, &target, None).refused(401, "UNAUTHENTICATED");
        let told = house.send(Some(&acme.founder.key), route.method, &target, None).refused(501, "NOT_IMPLEMENTED");
        assert_eq!(told["message"], format!("{} {} is not served here", route.method, route.template));
    }
}

#[test]
fn a_path_that_nobody_has_is_not_there() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::Off);
    acme.get(&acme.founder, "/v1/nothing").refused(404, "NOT_FOUND");
    let told = house.send(Some(&acme.founder.key), "PUT", "/v1/volumes/token", None).refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(told["message"], "this path answers POST only");
}
