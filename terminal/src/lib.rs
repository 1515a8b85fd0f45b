//! Stub.
#![allow(missing_docs, dead_code, unused)]
#[derive(Clone,Copy,PartialEq,Eq,Debug)] pub struct Size{pub cols:u16,pub rows:u16}
#[derive(Clone,Copy,Default,Debug)] pub struct SnapshotOptions{pub scrollback_lines:usize,pub erase_scrollback:bool}
#[derive(Debug)] pub struct Terminal{size:Size}
impl Terminal{ pub fn size(&self)->Size{self.size} pub fn snapshot(&self,_:SnapshotOptions,_o:&mut Vec<u8>){} pub fn title(&self)->&str{""} pub fn cwd(&self)->Option<&str>{None} }
#[derive(Debug)] pub struct Hub{t:Terminal,ring:Vec<u8>,base:u64}
#[derive(Debug)] pub struct Expired{pub oldest:u64}
impl Hub{ pub fn new(size:Size,_:usize,_:usize)->Self{Hub{t:Terminal{size},ring:vec![],base:0}}
pub fn from_snapshot(size:Size,_:usize,_:usize,at:u64,_s:&[u8])->Self{Hub{t:Terminal{size},ring:vec![],base:at}}
pub fn feed(&mut self,b:&[u8]){self.ring.extend_from_slice(b)} pub fn feed_answering(&mut self,b:&[u8],_r:&mut Vec<u8>){self.feed(b)} pub fn flush_held(&mut self){}
pub fn head(&self)->u64{self.base+self.ring.len() as u64} pub fn oldest(&self)->u64{self.base}
pub fn read(&self,from:u64,max:usize)->Result<&[u8],Expired>{ let f=(from-self.base) as usize; let r=&self.ring[f..]; Ok(&r[..r.len().min(max)]) }
pub fn terminal(&self)->&Terminal{&self.t} pub fn resize(&mut self,s:Size){self.t.size=s} }
#[derive(Debug)] pub struct Cursor{at:Option<u64>,credit:u64,used:u64}
pub enum Next<'a>{Bytes{offset:u64,bytes:&'a[u8]},Snapshot{at:u64,skipped:u64},NoCredit,Idle}
impl Cursor{ pub fn at(o:u64)->Self{Cursor{at:Some(o),credit:0,used:0}} pub fn needing_snapshot()->Self{Cursor{at:None,credit:0,used:0}}
pub fn grant(&mut self,t:u64){self.credit=self.credit.max(t)} pub fn charge(&mut self,n:u64){self.used+=n} pub fn offset(&self)->u64{self.at.unwrap_or(0)}
pub fn next<'a>(&mut self,h:&'a Hub,max:usize)->Next<'a>{ match self.at{None=>{self.at=Some(h.head());Next::Snapshot{at:h.head(),skipped:0}} Some(a)=>{ if a>=h.head(){return Next::Idle} if self.used>=self.credit{return Next::NoCredit} let b=h.read(a,max).unwrap(); self.at=Some(a+b.len() as u64); self.used+=b.len() as u64; Next::Bytes{offset:a,bytes:b}}}} }
