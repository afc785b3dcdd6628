//! What passes through in both directions.

use super::model::{Model, reply};
use super::{Site, TOKEN};

#[test]
fn a_prediction_goes_to_the_model_and_comes_back() {
    let site = Site::new();
    let model = Model::new(|seen, connection| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        reply(connection, 200, "x-of-model: yes\r\nset-cookie: a=b\r\n", &format!("[{body}]"))
    });
    site.runs("researchfirst", &model);
    for target in ["/models/researchmodel/production/predict", "/models/researchmodel/predict"] {
        let answered = site.post("max", target, "{\"x\":1}");
        assert_eq!((answered.status, answered.body.as_str()), (200, "[{\"x\":1}]"), "{answered:?}");
        assert!(
            answered.head.contains("x-of-model: yes") && !answered.head.contains("set-cookie"),
            "{}",
            answered.head
        );
        assert!(answered.head.contains("x-baseten-request-id: "), "{}", answered.head);
    }
    let seen = model.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].line, "POST /v1/models/model:predict HTTP/1.1");
    assert_eq!(seen[0].header("x-guildhall-token"), Some(TOKEN));
    assert_eq!(seen[0].header("authorization"), None);
}
