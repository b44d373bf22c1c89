use async_trait::async_trait;
use chat::*;
use import::*;
struct Null(u64);
#[async_trait]
impl Load for Null {
    async fn begin(&mut self, _: &Source) -> PortResult<()> {
        Ok(())
    }
    async fn organizations(&mut self, _: &[Organization]) -> PortResult<()> {
        Ok(())
    }
    async fn accounts(&mut self, _: &[Account]) -> PortResult<()> {
        Ok(())
    }
    async fn rooms(&mut self, _: &[RoomId]) -> PortResult<()> {
        Ok(())
    }
    async fn memberships(&mut self, _: &[Membership]) -> PortResult<()> {
        Ok(())
    }
    async fn organization_rooms(&mut self, _: &[OrganizationRooms]) -> PortResult<()> {
        Ok(())
    }
    async fn publish(&mut self) -> PortResult<Option<RoomId>> {
        Ok(None)
    }
    async fn messages(&mut self, r: &[RoomMessages]) -> PortResult<()> {
        self.0 += r.len() as u64;
        Ok(())
    }
    async fn finish(&mut self) -> PortResult<()> {
        Ok(())
    }
}
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let p = std::env::args().nth(1).unwrap();
    let s = std::env::args().nth(2).unwrap();
    let r = import::import(p.as_ref(), &ImportOptions::new(s), &mut Null(0), &mut |_| {}).await.unwrap();
    println!("{}", serde_json::to_string_pretty(&r).unwrap());
}
