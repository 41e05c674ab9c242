use std::io::BufReader; use std::fs::File;
fn main(){ let a: Vec<String>=std::env::args().collect(); let t=std::time::Instant::now();
 let db = if std::path::Path::new(&a[1]).exists(){ bygone::Db::open(&a[1]) } else { bygone::Db::create(&a[1]) }.unwrap();
 println!("open {:?} {:?}", t.elapsed(), db.recovery());
 let t=std::time::Instant::now();
 let r=db.import(BufReader::new(File::open(&a[2]).unwrap()), &bygone::ImportOptions::new(), &mut |_|{});
 println!("{:?} {:?}", r, t.elapsed()); let t=std::time::Instant::now(); println!("close {:?} {:?}", db.close(), t.elapsed());
 let s=std::fs::read_to_string("/proc/self/status").unwrap(); println!("{}", s.lines().find(|l|l.starts_with("VmHWM")).unwrap());
}
