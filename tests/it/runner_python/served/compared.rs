//! The same status, headers and body as the stock server, for each kind of model.

use serde_json::{Value, json};

use super::child::{Answer, Call, Ours, Server, Stock};
use super::{Files, build, has_pypi, secrets};

const fn predict(body: &'static [u8]) -> Call<'static> {
    Call { method: "POST", path: "/v1/models/model:predict", headers: "Content-Type: application/json\r\n", body }
}

const fn get(path: &'static str) -> Call<'static> {
    Call { method: "GET", path, headers: "", body: b"" }
}

/// Starts a model twice, and answers what both said to each call.
fn compare(config: Value, files: Files, known: &[(&str, &str)], calls: &[Call]) -> Vec<Answer> {
    let known = secrets(known);
    let ours = Ours::start(build(&config, files).unwrap(), &known, Value::Null);
    let stock = Stock::start(&ours, &known);
    ours.wait_until_ready();
    stock.wait_until_ready();
    let ask = |server: &dyn Server, call: &Call| {
        let mut answer = server.call(call);
        answer.headers.remove("date");
        answer
    };
    let both = |call: &Call| {
        let (own, original) = (ask(&ours, call), ask(&stock, call));
        assert_eq!(own, original, "{} {}: {} against {}", call.method, call.path, own.text(), original.text());
        own
    };
    calls.iter().map(both).collect()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[test]
fn a_plain_model_with_all_its_errors() {
    if !has_pypi() {
        return;
    }
    let code = "
from fastapi import HTTPException
class Model:
    def predict(self, inputs):
        if inputs == 'raise': raise ValueError('hidden')
        if inputs == 'teapot': raise HTTPException(418, 'short and stout')
        return {'echo': inputs}
";
    let binary = Call { headers: "Content-Type: application/octet-stream\r\n", ..predict(b"\x81\xa1a\x01") };
    let calls = [
        predict(b"{\"a\": [1, 2.5, null]}"),
        predict(b"{"),
        predict(b"\"raise\""),
        predict(b"\"teapot\""),
        binary,
        Call { body: b"\xc1", ..binary },
        get("/"),
        get("/v1/models/model"),
        get("/v1/models/model/loaded"),
        get("/v1/models/model/schema"),
        get("/missing"),
        Call { method: "GET", ..predict(b"") }, // a model of this name, to the server
    ];
    let answers = compare(json!({}), &[("model/model.py", code)], &[], &calls);
    assert_eq!(statuses(&answers), [200, 400, 500, 418, 200, 400, 200, 200, 200, 404, 404, 200]);
    assert_eq!(answers[0].json(), json!({"echo": {"a": [1, 2.5, null]}}));
    assert_eq!(answers[2].headers["x-baseten-error-code"], "600");
    assert!(!answers[2].text().contains("hidden"));
    assert_eq!(answers[4].body, b"\x81\xa4echo\x81\xa1a\x01");
}

#[test]
fn a_model_that_reads_secrets() {
    if !has_pypi() {
        return;
    }
    let code = "
class Model:
    def __init__(self, secrets, config): self.secrets, self.config = secrets, config
    def predict(self, name):
        return {'value': self.secrets[name], 'declared': sorted(self.config['secrets'])}
";
    let config = json!({"secrets": {"token": null, "absent": null, "default": "from the configuration"}});
    let calls = [predict(b"\"token\""), predict(b"\"default\""), predict(b"\"absent\""), predict(b"\"undeclared\"")];
    let known = [("token", "s3cret"), ("undeclared", "never seen")];
    let answers = compare(config, &[("model/model.py", code)], &known, &calls);
    assert_eq!(statuses(&answers), [200, 200, 500, 500]);
    assert_eq!(answers[0].json()["value"], "s3cret");
}

#[test]
fn models_that_stream() {
    if !has_pypi() {
        return;
    }
    let code = "
import asyncio
class Model:
    def predict(self, inputs):
        if inputs == 'sync':
            return (f'{n} ' for n in range(3))
        async def chunks():
            for n in range(3):
                yield f'{n};'
                await asyncio.sleep(0)
            if inputs == 'raise': raise ValueError('in the middle')
        return chunks()
";
    let accepts_json = Call { headers: "Accept: application/json\r\n", ..predict(b"\"async\"") };
    let calls = [predict(b"\"sync\""), predict(b"\"async\""), predict(b"\"raise\""), accepts_json];
    let answers = compare(json!({}), &[("model/model.py", code)], &[], &calls);
    assert_eq!(answers[0].text(), "0 1 2 ");
    assert_eq!((answers[1].text(), answers[2].text()), ("0;1;2;".to_owned(), "0;1;2;".to_owned()));
    assert_eq!(answers[0].headers["transfer-encoding"], "chunked");
}

#[test]
fn a_model_with_a_schema() {
    if !has_pypi() {
        return;
    }
    let code = "
from pydantic import BaseModel
class Inputs(BaseModel):
    text: str
    times: int = 1
class Outputs(BaseModel):
    text: str
class Model:
    async def predict(self, inputs: Inputs) -> Outputs:
        return Outputs(text=inputs.text * inputs.times)
";
    let calls =
        [predict(b"{\"text\": \"a\", \"times\": 3}"), predict(b"{\"times\": 3}"), get("/v1/models/model/schema")];
    let answers = compare(json!({}), &[("model/model.py", code)], &[], &calls);
    assert_eq!(statuses(&answers), [200, 400, 200]);
    assert_eq!(answers[0].json(), json!({"text": "aaa"}));
}

#[test]
fn a_model_with_steps_before_and_after_and_packages_of_its_own() {
    if !has_pypi() {
        return;
    }
    let code = "
from fastapi import Request
from starlette.responses import Response
import helpers
class Model:
    def preprocess(self, inputs): return inputs + ['before']
    def predict(self, inputs, request: Request):
        return inputs + [request.headers.get('x-baseten-request-id'), helpers.WORD]
    async def postprocess(self, outputs):
        return Response(','.join(outputs), status_code=202, headers={'x-own': 'yes'})
";
    let config = json!({"bundled_packages_dir": "packages"});
    let call = Call { headers: "x-baseten-request-id: req-1\r\n", ..predict(b"[\"given\"]") };
    let files = [("model/model.py", code), ("model/__init__.py", ""), ("packages/helpers.py", "WORD = 'packaged'\n")];
    let answers = compare(config, &files, &[], &[call]);
    assert_eq!((answers[0].status, answers[0].headers["x-own"].as_str()), (202, "yes"));
    assert_eq!(answers[0].text(), "given,before,req-1,packaged");
}

#[test]
fn a_model_with_chat_routes() {
    if !has_pypi() {
        return;
    }
    let code = "
class Model:
    def predict(self, inputs): return inputs
    async def chat_completions(self, inputs):
        return {'object': 'chat.completion', 'model': inputs['model']}
";
    let chat = Call { path: "/v1/chat/completions", ..predict(b"{\"model\": \"m\", \"messages\": []}") };
    let calls =
        [chat, Call { path: "/v1/completions", ..chat }, Call { path: "/v1/embeddings", ..chat }, predict(b"{}")];
    let answers = compare(json!({}), &[("model/model.py", code)], &[], &calls);
    assert_eq!(answers[0].json()["object"], "chat.completion");
    assert_eq!(answers[1].status, 404);
}

#[test]
fn a_model_with_requirements_and_a_file_of_them() {
    if !has_pypi() {
        return;
    }
    let code = "
import importlib.metadata, numpy
class Model:
    def predict(self, inputs):
        return {'numpy': numpy.__version__, 'idna': importlib.metadata.version('idna'), 'sum': numpy.arange(4).sum()}
";
    let config = json!({"requirements": ["numpy==2.1.3"], "requirements_file": "more.txt"});
    let files = [("model/model.py", code), ("more.txt", "# pinned\nidna==3.10\n")];
    let answers = compare(config, &files, &[], &[predict(b"null")]);
    assert_eq!(answers[0].json(), json!({"numpy": "2.1.3", "idna": "3.10", "sum": 6}));
}
