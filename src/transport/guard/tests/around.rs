//! What an operator allows, the machine's own addresses, its own server.

use proptest::prelude::*;

use super::*;

fn allow(list: &[&str]) -> Vec<Allowed> {
    list.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn verdicts(address: &str, around: &Surroundings<'_>) -> [bool; 4] {
    EVERY.map(|guard| judge(address.parse().unwrap(), guard, around).is_ok())
}

#[test]
fn the_operator_allows_networks_and_ports() {
    let allow = allow(&["10.1.0.0/16:443", "10.2.3.4/32:8080-8090", "[fd00::]/8:*", "127.0.0.1/32:9000"]);
    let around = Surroundings { allow: &allow, ..Surroundings::default() };
    for address in
        ["10.1.2.3:443", "[::ffff:10.1.2.3]:443", "10.2.3.4:8080", "10.2.3.4:8090", "[fd12::1]:1", "127.0.0.1:9000"]
    {
        assert_eq!(verdicts(address, &around), [true; 4], "{address}");
    }
    for address in ["10.1.2.3:80", "10.2.3.4:8091", "10.2.3.5:8080", "[fc00::1]:443", "[64:ff9b::a01:203]:443"] {
        assert_eq!(verdicts(address, &around), [true, true, false, false], "{address}");
    }
    assert_eq!(verdicts("127.0.0.1:9001", &around), [true, false, false, true]);
    assert_eq!(verdicts("[::1]:9000", &around), [true, false, false, true]);
}

#[test]
fn metadata_is_allowed_only_by_its_own_address() {
    let wide = allow(&[
        "0.0.0.0/0:*",
        "169.254.0.0/16:80",
        "169.254.169.254/31:80",
        "[::]/0:*",
        "[fe80::]/64:*",
        "[64:ff9b::]/96:*",
    ]);
    let around = Surroundings { allow: &wide, ..Surroundings::default() };
    for address in [
        "169.254.169.254:80",
        "[::ffff:169.254.169.254]:80",
        "[fd00:ec2::254]:80",
        "[fe80::1]:80",
        "168.63.129.16:80",
        "[64:ff9b::a9fe:a9fe]:80",
    ] {
        assert_eq!(verdicts(address, &around), [false; 4], "{address}");
    }
    assert_eq!(verdicts("10.0.0.1:80", &around), [true; 4]);
    let exact = allow(&["169.254.169.254/32:80", "[fd00:ec2::254]/128:80"]);
    let around = Surroundings { allow: &exact, ..Surroundings::default() };
    for address in ["169.254.169.254:80", "[::ffff:a9fe:a9fe]:80", "[fd00:ec2::254]:80"] {
        assert_eq!(verdicts(address, &around), [true; 4], "{address}");
    }
    for address in ["169.254.169.254:81", "169.254.169.253:80", "[64:ff9b::a9fe:a9fe]:80"] {
        assert_eq!(verdicts(address, &around), [false; 4], "{address}");
    }
}

#[test]
fn this_machine_is_this_machine_by_all_its_addresses() {
    let own = ips(&["192.168.7.7", "8.8.4.4", "2606:4700::7", "fe80::7"]);
    let around = Surroundings { own: &own, ..Surroundings::default() };
    for address in ["192.168.7.7:80", "8.8.4.4:80", "[2606:4700::7]:80", "[::ffff:8.8.4.4]:80"] {
        assert_eq!(verdicts(address, &around), [true, false, false, true], "{address}");
    }
    for address in ["[64:ff9b::808:404]:80", "[2002:808:404::1]:80", "[2606:4700::5efe:8.8.4.4]:80"] {
        assert_eq!(verdicts(address, &around), [true, false, false, false], "{address}");
    }
    assert_eq!(verdicts("[fe80::7]:80", &around), [false; 4]);
    assert_eq!(verdicts("8.8.8.8:80", &around), [true; 4]);
}

#[test]
fn nobody_reaches_the_server_itself_whatever_is_allowed() {
    let (own, allow) = (ips(&["192.168.7.7", "2606:4700::7"]), allow(&["0.0.0.0/0:*", "[::]/0:*"]));
    let listens = |at: &str, address: &str| {
        let listening = [at.parse().unwrap()];
        let around = Surroundings { allow: &allow, own: &own, listening: &listening, https_only: false };
        let verdicts = verdicts(address, &around);
        assert!(verdicts == [true; 4] || verdicts == [false; 4]);
        !verdicts[0]
    };
    for (at, address) in [
        ("127.0.0.1:8700", "127.0.0.1:8700"),
        ("127.0.0.1:8700", "0.0.0.0:8700"),
        ("127.0.0.1:8700", "[::ffff:127.0.0.1]:8700"),
        ("127.0.0.1:8700", "[64:ff9b::7f00:1]:8700"),
        ("192.168.7.7:8700", "192.168.7.7:8700"),
        ("0.0.0.0:8700", "127.0.0.9:8700"),
        ("0.0.0.0:8700", "192.168.7.7:8700"),
        ("[::]:8700", "192.168.7.7:8700"),
        ("[::]:8700", "[2606:4700::7]:8700"),
        ("[::]:8700", "[::1]:8700"),
        ("[::1]:8700", "[::]:8700"),
    ] {
        assert!(listens(at, address), "{at} {address}");
    }
    for (at, address) in [
        ("127.0.0.1:8700", "127.0.0.1:8701"),
        ("127.0.0.1:8700", "192.168.7.7:8700"),
        ("0.0.0.0:8700", "192.168.7.8:8700"),
        ("0.0.0.0:8700", "[::1]:8700"),
    ] {
        assert!(!listens(at, address), "{at} {address}");
    }
}

#[test]
fn an_url_is_judged_with_its_port_and_by_what_is_around() {
    let (own, allow) = (ips(&["8.8.4.4"]), allow(&["10.1.0.0/16:443"]));
    let around = Surroundings { own: &own, allow: &allow, ..Surroundings::default() };
    let allowed = |url: &str| judge_url(&url.parse().unwrap(), Guard::Public, &around).is_ok();
    assert!(allowed("https://10.1.2.3") && allowed("http://10.1.2.3:443") && allowed("https://0xa010203"));
    assert!(!allowed("http://10.1.2.3") && !allowed("https://10.1.2.3:444") && !allowed("https://8.8.4.4"));
}

#[test]
fn where_https_is_asked_for_nobody_but_the_operator_goes_without() {
    let around = Surroundings { https_only: true, ..Surroundings::default() };
    let verdicts = |url: &str| EVERY.map(|guard| judge_url(&url.parse().unwrap(), guard, &around).is_ok());
    assert_eq!(verdicts("https://example.com"), [true; 4]);
    assert_eq!(verdicts("http://example.com"), [true, false, false, false]);
}

#[test]
fn what_allows_is_written_in_one_way() {
    for text in ["10.1.0.0/16:443", "10.2.3.4/32:8080-8090", "[fd00::]/8:*", "0.0.0.0/0:1", "[2001:db8::1]/128:65535"] {
        assert_eq!(text.parse::<Allowed>().map(|allowed| allowed.to_string()), Ok(text.to_owned()));
    }
    let wrong = [
        "",
        "10.0.0.0/8",
        "10.0.0.1:443",
        "10.0.0.0/33:1",
        "10.0.0.0/+8:1",
        "10.0.0.0/8:0",
        "10.0.0.0/8:2-1",
        "10.0.0.0/8:65536",
        "10.0.0.0/8:+1",
        "10.0.0.0/8:",
        "10.0.0.0/8:1-",
        "010.0.0.0/8:1",
        "fd00::/8:443",
        "[fd00::/8]:443",
        "fd00::/8",
        "localhost/8:1",
        " 10.0.0.0/8:1",
    ];
    for text in wrong {
        assert_eq!(text.parse::<Allowed>(), Err(ParseAllowedError::Form), "{text}");
    }
    assert!(matches!("10.1.2.3/16:443".parse::<Allowed>(), Err(ParseAllowedError::Host(..))));
    assert_eq!("[::ffff:10.0.0.0]/104:1".parse::<Allowed>(), Err(ParseAllowedError::Mapped));
}

prop_compose! {
    fn allowed()(bits: u32, prefix in 0_u8..=32, ports: (u16, u16)) -> Allowed {
        let net = ipnet::Ipv4Net::new(bits.into(), prefix).unwrap().trunc();
        let (first, last) = (ports.0.min(ports.1).max(1), ports.0.max(ports.1).max(1));
        format!("{net}:{first}-{last}").parse().unwrap()
    }
}

proptest! {
    #[test]
    fn what_is_allowed_reads_back(allowed in allowed()) {
        prop_assert_eq!(allowed.to_string().parse(), Ok(allowed));
    }

    #[test]
    fn an_allow_list_only_allows_and_never_metadata_by_a_network(
        list in prop::collection::vec(allowed(), 0..4), ip: IpAddr, port: u16, bits: u32, near in 0_u32..=16,
    ) {
        let metadata = Ipv4Addr::from(0xa9fe_a9fe ^ (bits & ((1_u32 << near) - 1)));
        let exact = format!("{metadata}/32:");
        for ip in [ip, metadata.into(), metadata.to_ipv6_mapped().into()] {
            let address = SocketAddr::new(ip, port);
            for guard in EVERY {
                let without = judge(address, guard, &Surroundings::default());
                let with = judge(address, guard, &Surroundings { allow: &list, ..Surroundings::default() });
                prop_assert!(without.is_err() || with.is_ok());
                let named = list.iter().any(|allowed| allowed.to_string().starts_with(&exact));
                prop_assert!(ip.to_canonical() != metadata || named || with.is_err());
            }
        }
    }

    #[test]
    fn own_addresses_and_own_servers_only_take_away_from_those_who_may_not_reach_this_machine(
        ip: IpAddr, port: u16, own: Vec<IpAddr>, more: bool, at: u16,
    ) {
        let own: Vec<_> = own.into_iter().chain(more.then_some(ip.to_canonical())).collect();
        let address = SocketAddr::new(ip, port);
        for guard in [Guard::Private, Guard::PrivateNoLoopback, Guard::Public] {
            let alone = judge(address, guard, &Surroundings::default());
            let known = judge(address, guard, &Surroundings { own: &own, ..Surroundings::default() });
            prop_assert!(alone.is_ok() || known.is_err());
            prop_assert!(!more || guard == Guard::Private || known.is_err());
        }
        let listening = [SocketAddr::new(ip, at)];
        let around = Surroundings { own: &own, listening: &listening, ..Surroundings::default() };
        prop_assert!(EVERY.into_iter().all(|guard| judge(SocketAddr::new(ip, at), guard, &around).is_err()) || ip.is_unspecified());
    }
}
