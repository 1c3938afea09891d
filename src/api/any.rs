//! Messages within an `Any`, known by their bare full names as containerd has them.

use mica_proto::prost::{Message, Name};
use mica_proto::prost_types::Any;
use tonic::Status;

use super::status::refused;
use crate::error_class::ErrorClass;

/// Returns a message under its bare name.
pub(super) fn packed<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::full_name(),
        value: message.encode_to_vec(),
    }
}

/// Returns the message, if it is one of this kind; names with a host in front are known too.
pub(super) fn unpacked<M: Message + Name + Default>(any: &Any) -> Result<Option<M>, Status> {
    if name(any) != M::full_name() {
        return Ok(None);
    }
    M::decode(any.value.as_slice()).map(Some).map_err(|error| {
        let message = format!("decode {}: {error}", any.type_url);
        refused(ErrorClass::InvalidArgument, &message)
    })
}

/// Returns the full name of the message.
pub(super) fn name(any: &Any) -> &str {
    let url = any.type_url.as_str();
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use mica_proto::streaming::StreamInit;
    use mica_proto::transfer_types::Data;

    use super::*;

    #[test]
    fn messages_are_known_by_their_names() {
        let id = "id".to_owned();
        let init = StreamInit { id };
        let mut any = packed(&init);
        assert_eq!(any.type_url, "containerd.services.streaming.v1.StreamInit");
        assert_eq!(unpacked(&any).unwrap(), Some(init.clone()));
        assert_eq!(unpacked::<Data>(&any).unwrap(), None);
        any.type_url = format!("type.googleapis.com/{}", any.type_url);
        assert_eq!(unpacked(&any).unwrap(), Some(init));
        any.value = vec![0xff];
        unpacked::<StreamInit>(&any).unwrap_err();
    }
}
