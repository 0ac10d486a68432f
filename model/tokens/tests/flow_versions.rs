//! A flow codec of another alphabet, table or version is refused, and both are named.

use netssm_tokens::codec::{self, Codec, CodecId, FlowCodec, Vocab, flow::Parameters};

fn vocab() -> Vocab {
    Vocab::flow(&["web", "mail"]).expect("a vocabulary")
}

fn own() -> CodecId {
    FlowCodec::new(vocab(), Parameters::default()).expect("a codec").id()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut CodecId)) -> String {
    let mut id = own();
    change(&mut id);
    let message = codec::open(&id, vocab()).expect_err("it is another codec").to_string();
    for named in [id.to_string(), own().to_string()] {
        assert!(message.contains(&named), "{message} does not name {named}");
    }
    message
}

#[test]
fn another_build_is_named_with_this_one() {
    refused(|id| id.version += 1);
    for hash in ["vocab", "tables"] {
        let message = refused(|id| drop(id.params.insert(hash.to_owned(), "0123456789abcdef".to_owned())));
        assert!(message.contains(&format!("{hash}=0123456789abcdef")), "{message}");
        refused(|id| drop(id.params.remove(hash)));
    }
    refused(|id| drop(id.params.insert("slots".to_owned(), "round".to_owned())));
    refused(|id| drop(id.params.insert("remind".to_owned(), "32".to_owned())));
    refused(|id| drop(id.params.insert("colour".to_owned(), "red".to_owned())));
}

#[test]
fn every_way_to_write_sessions_opens_again() {
    for fine in [true, false] {
        for slots in [codec::flow::Slots::Recent, codec::flow::Slots::Fixed] {
            let parameters = Parameters { fine, slots };
            let id = FlowCodec::new(vocab(), parameters).expect("a codec").id();
            assert_eq!(codec::open(&id, vocab()).expect("it is our own").id(), id);
            assert_eq!(FlowCodec::from_id(&id, vocab()).expect("it is our own").rules(), parameters);
        }
    }
}

#[test]
fn a_vocabulary_of_bytes_is_not_that_of_flows() {
    let bytes = Vocab::new(&["web"]).expect("a vocabulary");
    assert!(codec::open(&own(), bytes.clone()).is_err());
    assert!(FlowCodec::new(bytes, Parameters::default()).is_err());
}
