//! From a session to frames for the testbed. This header is completed with the code.

mod allocator;
mod dropped;
mod keys;
mod plan;
mod replay;
mod rewriter;
mod testbed;

pub use allocator::Allocator;
pub use dropped::Dropped;
pub use plan::{AddressPlan, GroupPolicy, MacPolicy, PortPolicy, Side, VlanId};
pub use replay::SessionReplay;
pub use rewriter::{PayloadPolicy, Rewriter};
pub use testbed::{Direction, FlowTag, SessionFacts, SessionTag, TestbedFrame};
