use proptest::prelude::*;

use super::*;

mod around;

const EVERY: [Guard; 4] = [Guard::Private, Guard::PrivateNoLoopback, Guard::Public, Guard::PublicAndLoopback];

fn allows(ip: &str, guard: Guard) -> bool {
    judged(ip.parse().unwrap(), guard).is_ok()
}

fn judged(ip: IpAddr, guard: Guard) -> Result<(), Blocked> {
    judge(SocketAddr::new(ip, 443), guard, &Surroundings::default())
}

#[test]
fn the_internet_may_always_be_reached() {
    let global = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
    ];
    for ip in global {
        assert!(EVERY.into_iter().all(|guard| allows(ip, guard)), "{ip}");
    }
}

#[test]
fn metadata_and_link_local_addresses_may_never_be_reached() {
    let never = [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::ffff:100.100.100.200",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00::",
        "2001:0:102:304:0:ffff:5601:5601",
        "2606:4700::5efe:169.254.169.254",
        "fd00::200:5efe:169.254.169.254",
    ];
    for ip in never {
        assert!(EVERY.into_iter().all(|guard| !allows(ip, guard)), "{ip}");
    }
}

#[test]
fn a_private_network_is_for_private_endpoints_alone() {
    let private = [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "fec0::1",
        "100::1",
        "2001::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "64:ff9b::808:808",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "2002:a00:1::1",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:192.168.0.1",
    ];
    for ip in private {
        assert_eq!(EVERY.map(|guard| allows(ip, guard)), [true, true, false, false], "{ip}");
    }
}

#[test]
fn loopback_is_for_private_endpoints_and_where_it_is_allowed() {
    for ip in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0"] {
        assert_eq!(EVERY.map(|guard| allows(ip, guard)), [true, false, false, true], "{ip}");
    }
}

#[test]
fn no_gateway_leads_to_this_machine() {
    for ip in [
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "::127.0.0.1",
        "64:ff9b::",
        "2002::1",
        "64:ff9b:1::7f00:1",
        "2001::80ff:fffe",
        "fd00::5efe:127.0.0.1",
    ] {
        assert_eq!(EVERY.map(|guard| allows(ip, guard)), [true, false, false, false], "{ip}");
    }
}

#[test]
fn a_name_with_an_empty_label_is_none() {
    for url in ["http://10.0.0.11..", "http://localhost..", "https://a..example.org", "http://.example.org", "http://."]
    {
        assert!(EVERY.iter().all(|guard| !url_allowed(url, *guard)), "{url}");
    }
    assert!(url_allowed("https://example.org.", Guard::Public));
}

fn url_allowed(url: &str, guard: Guard) -> bool {
    let parsed = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    judge_url(&parsed, guard, &Surroundings::default()).is_ok()
}

#[test]
fn no_spelling_of_loopback_is_missed() {
    let spellings = [
        "http://127.0.0.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://017700000001",
        "http://0x7f.1",
        "http://127.1",
        "http://127.0.1",
        "http://0177.0.0.1",
        "http://127.0.0.1.",
        "http://①②⑦.0.0.1",
        "http://127。0。0。1",
        "http://%31%32%37.0.0.1",
        "http://localhost",
        "http://LOCALHOST",
        "http://localhost.",
        "http://a.localhost",
        "http://a.b.localhost.",
        "http://ｌocalhost",
        "http://[::1]",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://\t127.0.0.1",
        "http:/127.0.0.1",
        "http:\\\\127.0.0.1",
        "https://localhost:8443/x",
        "http://0",
        "http://0.0.0.0",
        "http://0x0",
        "http://[::]",
        "http://[::ffff:0.0.0.0]",
        "http://127.1.",
        "http://0x7f.0x0.0x0.0x1",
        "http://0177.0x0.0.1",
        "http://1\u{ff12}7.0.0.1",
        "http://\u{ff11}\u{ff12}\u{ff17}\u{ff0e}0\u{ff0e}0\u{ff0e}1",
        "http://127\u{ff61}0\u{ff61}0\u{ff61}1",
        "http://127.0.0.1\\@example.com",
        "http://127.0.0.1#@example.com",
        "http://127.0.0.1?@example.com",
        "http://12\t7.0.\n0.1",
        "http://loc\nalhost",
        "http://localhost%2e",
        "http://localhost\u{3002}",
        "http:///127.0.0.1",
        "HTTP://127.0.0.1",
        "  http://127.0.0.1  ",
        "http://[0000::0001]",
    ];
    for url in spellings {
        assert!(!url_allowed(url, Guard::Public), "{url}");
        assert!(url_allowed(url, Guard::PublicAndLoopback), "{url}");
        assert!(url_allowed(url, Guard::Private), "{url}");
        assert!(!url_allowed(url, Guard::PrivateNoLoopback), "{url}");
    }
    for url in ["http://3232235777", "http://0xc0a80101", "http://[fd00::1]"] {
        assert!(!url_allowed(url, Guard::Public) && !url_allowed(url, Guard::PublicAndLoopback), "{url}");
    }
    for url in ["http://169.254.169.254/latest", "http://2852039166", "http://0xa9fea9fe", "http://[::ffff:a9fe:a9fe]"]
    {
        assert!(!url_allowed(url, Guard::Private), "{url}");
    }
}

#[test]
fn an_endpoint_is_a_plain_web_address() {
    for url in
        ["http://example.com", "https://example.com:8443/a?b#c", "https://notlocalhost", "http://localhost.example"]
    {
        assert!(url_allowed(url, Guard::Public), "{url}");
    }
    let refused = [
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "unix:/run/x",
        "data:,x",
        "http://u@example.com",
        "http://:p@example.com",
        "https://example.com@10.0.0.1",
        "http://example.com:0",
    ];
    for url in refused {
        assert!(EVERY.into_iter().all(|guard| !url_allowed(url, guard)), "{url}");
    }
    assert!("http://example.com:99999".parse::<Url>().is_err());
}

proptest! {
    #[test]
    fn what_private_refuses_every_guard_refuses(ip: IpAddr) {
        prop_assert!(judged(ip, Guard::Private).is_ok() || judged(ip, Guard::PrivateNoLoopback).is_err());
        prop_assert!(judged(ip, Guard::PrivateNoLoopback).is_ok() || judged(ip, Guard::Public).is_err());
        prop_assert!(judged(ip, Guard::Public).is_err() || judged(ip, Guard::PublicAndLoopback).is_ok());
    }

    #[test]
    fn a_mapped_address_is_judged_as_what_it_maps(ip: Ipv4Addr) {
        for guard in EVERY {
            let mapped = judged(ip.to_ipv6_mapped().into(), guard).is_ok();
            prop_assert_eq!(mapped, judged(ip.into(), guard).is_ok());
        }
    }

    #[test]
    fn public_means_global(ip: Ipv4Addr) {
        let known = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.is_documentation()
            || ip.is_multicast() || ip.is_unspecified();
        prop_assert!(!known || judged(ip.into(), Guard::Public).is_err());
    }

    #[test]
    fn every_number_is_judged_as_the_address_it_stands_for(number: u32) {
        for guard in EVERY {
            let verdict = judged(Ipv4Addr::from(number).into(), guard).is_ok();
            for url in [format!("http://{number}"), format!("http://{number:#x}"), format!("http://0{number:o}")] {
                prop_assert_eq!(url_allowed(&url, guard), verdict, "{}", url);
            }
        }
    }
}
