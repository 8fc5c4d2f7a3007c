//! What is printed for those who look for a mistake holds no secret.

use std::fmt::Debug;

use hookmill::{
    ChainConfig, Declared, Endpoint, Hookmill, SecretKeys, SecretRotation,
    endpoint::{Auth, Encoding, EndpointKey, Hmac, Key, Origin, Settings, Signing, Standard, TextSecret},
    store::{EndpointChange, EndpointRow, Loaded},
    testing::{self, Script, ScriptedTransport, paused},
    transport::signature::Verifier,
};
use serde_json::{Value, json};

use super::blackbox::secrets::expect_absent;

const SHARED: &str = "whsec_bWFya2VyLW9mLWEtc2hhcmVkLXNlY3JldC0xMjM0";
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const TOKEN: &str = "marker-bearer-7f3a";
const HEADER: &str = "marker-header-55e0";
const TEXT: &str = "marker-hmac-8d41";
const KEY: &str = "bWFya2VyIGtleSBtYXJrZXIga2V5IG1hcmtlciBrZXk=";

fn secretive() -> Value {
    json!({
        "url": "https://a.b/",
        "auth": {"type": "bearer", "token": TOKEN},
        "headers": {"x-key": HEADER},
        "signing": {"secrets": [SHARED, {"secret": PRIVATE, "until": "2030-01-01T00:00:00Z"}]},
    })
}

#[track_caller]
fn silent(shown: &dyn Debug) {
    let shown = format!("{shown:?}\n{shown:#?}");
    expect_absent("Debug", shown.as_bytes(), &[SHARED, PRIVATE, TOKEN, HEADER, TEXT, KEY]);
}

#[test]
fn no_type_prints_a_secret() {
    let settings = Settings::parse(&secretive(), Origin::Code, |_, _| Ok(())).unwrap();
    let hmac = Hmac {
        header: "x-s".to_owned(),
        prefix: String::new(),
        encoding: Encoding::Hex,
        secret: Some(TextSecret::new(TEXT)),
    };
    let keys = [SHARED, PRIVATE].map(|key| Key::parse(key).unwrap());
    silent(&settings);
    silent(&settings.signing);
    silent(&(&settings.auth, Auth::Verbatim(TOKEN.to_owned())));
    silent(&Auth::Basic { user: "a".to_owned(), password: TOKEN.to_owned() });
    silent(&(&keys, Standard::with(keys.clone()), Signing::Hmac(hmac.clone()), &hmac));
    silent(&(SecretRotation::new().secret(TEXT), Verifier::parse(SHARED), SecretKeys::parse(KEY)));
    silent(&Endpoint::http("a", "https://a.b").settings(secretive()).hmac(hmac));
    let mut declared = secretive();
    declared["id"] = json!("a");
    let mut step = secretive();
    step["name"] = json!("a");
    step["async"] = json!(true);
    let file = json!({"endpoints": [declared], "chains": {"c": [step]}});
    silent(&Declared::parse(&file).unwrap());
    silent(&ChainConfig::parse(&file).unwrap());
    silent(&Hookmill::single("https://a.b/").settings(secretive()));
    let text = settings.to_json().to_string();
    let (state_changed, state_reason, drop_pending) = (false, None, None);
    silent(&EndpointChange { settings: text.clone(), state_changed, state_reason, drop_pending });
    let row = EndpointRow {
        key: EndpointKey(1),
        id: "a".parse().unwrap(),
        settings: text.clone(),
        version: 1,
        created_at: testing::START,
        updated_at: testing::START,
        state_since: testing::START,
        state_reason: None,
    };
    silent(&row);
    silent(&Loaded { chains: vec![("c".to_owned(), text)], ..Loaded::default() });
}

#[test]
fn nothing_that_runs_prints_a_secret() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            silent(attempt);
            Script::status(500)
        });
        let builder = Hookmill::builder().endpoint(Endpoint::http("code", "https://a.b/").settings(secretive()));
        let hooks = testing::start_here(builder.transport(receiver.factory())).await.unwrap();
        let made = hooks.create_endpoint(None, &secretive()).await.unwrap();
        silent(&made);
        silent(&hooks.rotate_secret(&made.id, &SecretRotation::new(), None).await.unwrap());
        let mut step = secretive();
        step["name"] = json!("a");
        step["final_response"] = json!(true);
        silent(&hooks.put_chain("c".parse().unwrap(), &json!({"steps": [step]})).await.unwrap());
        silent(&(hooks.chain_list(), hooks.endpoints(), &hooks, hooks.chains()));
        hooks.publish(hookmill::Event::new("t", &1).unwrap()).await.unwrap();
        receiver.until(|made| made.len() == 2).await;
        silent(&(hooks.standing(&made.id).await.unwrap(), receiver.made()));
        let store = testing::store(&hooks);
        silent(&(store.load().await.unwrap(), store.endpoints(EndpointKey(0), 9).await.unwrap()));
        for (place, wrong) in
            [("url", json!(3)), ("auth", json!({"type": TOKEN})), ("signing", json!({"secret": TEXT}))]
        {
            let mut settings = secretive();
            settings[place] = wrong;
            let refused = hooks.create_endpoint(None, &settings).await.unwrap_err();
            silent(&refused);
            expect_absent("an error", refused.to_string().as_bytes(), &[SHARED, PRIVATE, TOKEN, HEADER, TEXT]);
        }
    });
}
