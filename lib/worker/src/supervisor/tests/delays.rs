//! How long restarts wait.

use tokio_util::sync::CancellationToken;

use super::*;

/// The delays, in seconds, of a child of this policy that is run `runs` times: each run lasts as long as `lasts` says.
async fn delays(policy: Policy, runs: u64, lasts: impl Fn(u64) -> Duration + Send + Sync + 'static) -> Vec<f64> {
    let delays = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&delays);
    let child = Child::new("child", Phase::Work, policy, move |context| {
        let lasts = lasts(context.run);
        async move {
            tokio::time::sleep(lasts).await;
            if context.run < runs { broken() } else { Ok(()) }
        }
    });
    let tree = Tree::new("top", vec![child]).expect("a tree").hook(move |notice: &Notice| {
        if let Event::BeforeBackoff(delay) = notice.event {
            seen.lock().expect("delays").push(delay.as_secs_f64());
        }
    });
    assert_eq!(tree.run(CancellationToken::new()).await, Outcome::Completed);
    let delays = delays.lock().expect("delays").clone();
    assert_eq!(delays.len() as u64, runs - 1);
    delays
}

#[tokio::test(start_paused = true)]
async fn delays_double_to_the_maximum_and_are_spread_evenly_over_the_random_part() {
    fastrand::seed(number_from_env("LANNER_SEED", 1));
    let backoff = Backoff::new(ms(100), secs(10), 0.3).expect("a backoff");
    let policy = Policy { backoff, reset: Reset::Manual, limit: endless(), ..policy() };
    let delays = delays(policy, 10_008, |_| ms(1)).await;
    for (failure, delay) in delays.iter().enumerate() {
        let full = (0.1 * f64::from(1_u32 << failure.min(20))).min(10.0);
        assert!((0.7 * full - 1e-6..=full + 1e-6).contains(delay), "{failure}: {delay}");
    }
    let at_maximum = &delays[7..];
    let mut tenths = [0_u32; 10];
    for delay in at_maximum {
        tenths[(((delay - 7.0) / 0.3) as usize).min(9)] += 1;
    }
    // 1,000 each, with a standard deviation of 30.
    assert!(tenths.iter().all(|count| (850..=1_150).contains(count)), "{tenths:?}");
    let mean = at_maximum.iter().sum::<f64>() / at_maximum.len() as f64;
    assert!((mean - 8.5).abs() < 0.05, "{mean}");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_time_resets_the_delay_whatever_the_minimum_is() {
    let policy = Policy { reset: Reset::After(secs(30)), limit: endless(), ..policy() };
    // The fourth run is nearly long enough, the sixth just long enough.
    let lasts = |run| match run {
        4 => ms(29_999),
        6 => secs(30),
        _ => ms(500),
    };
    assert_eq!(delays(policy, 9, lasts).await, [0.1, 0.2, 0.4, 0.8, 1.0, 0.1, 0.2, 0.4]);
}

#[tokio::test(start_paused = true)]
async fn a_manual_reset_is_the_only_one_where_it_is_the_rule() {
    let policy = Policy { reset: Reset::Manual, limit: endless(), ..policy() };
    assert_eq!(delays(policy.clone(), 5, |_| secs(3_600)).await, [0.1, 0.2, 0.4, 0.8]);

    let heard = Heard::default();
    let child = Child::new("child", Phase::Work, policy, |context| async move {
        match context.run {
            3 => context.backoff.reset(),
            5 => return Ok(()),
            _ => {}
        }
        broken()
    });
    let from_outside = child.backoff_reset();
    let tree = Tree::new("top", vec![child.hook(heard.hook())]).expect("a tree");
    let resetting = async {
        tokio::time::sleep(ms(50)).await;
        from_outside.reset();
    };
    let (outcome, ()) = tokio::join!(tree.run(CancellationToken::new()), resetting);
    assert_eq!(outcome, Outcome::Completed);
    let delays: Vec<_> = heard.lines().into_iter().filter(|line| line.contains("backoff")).collect();
    let expected = [1, 2, 3].map(|run| format!("top/child {run} before backoff: 100ms"));
    assert_eq!(delays[..3], expected);
    assert_eq!(delays[3], "top/child 4 before backoff: 200ms");
}
