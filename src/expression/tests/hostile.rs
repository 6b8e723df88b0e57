//! Inputs that try to block the webhook, or to exhaust its memory.

use super::*;

/// Compiles and, if that works, evaluates. The test fails if either does not return.
fn survives(source: &str) -> Result<JsonValue, String> {
    let expression =
        Expression::compile(source, &scope(), &mut CompileBudget::new()).map_err(|error| error.message)?;
    with_pod(POD, |variables| expression.evaluate(variables, &mut Budget::new()))
        .map_err(|error| error.message)
}

/// Returns nested `all` loops.
fn nested(over: &str, loops: usize) -> String {
    (0..loops).fold("true".to_owned(), |body, n| format!("{over}.all(x{n}, {body})"))
}

#[test]
fn expressions_that_are_too_long_or_too_deep_do_not_compile() {
    for (source, part) in [
        ("a".repeat(4097), "at most 4096 bytes; this one has 4097"),
        ("[".repeat(5000), "at most 4096 bytes"),
        ("(".repeat(200) + "1" + &")".repeat(200), "nested more than 48 deep"),
        ("[".repeat(4000), "nested more than 48 deep"),
        ("{1:".repeat(1300), "nested more than 48 deep"),
        ("pod".to_owned() + &".b".repeat(2000), "nested more than 64 deep"),
        ("pod".to_owned() + &"[0]".repeat(1300), "nested more than 64 deep"),
        ("pod".to_owned() + &".size()".repeat(500), "nested more than 64 deep"),
        ("1".to_owned() + &"+1".repeat(2000), "nested more than 64 deep"),
        ("1".to_owned() + &"==1".repeat(1000), "nested more than 64 deep"),
        ("true?".repeat(700) + "1" + &":1".repeat(700), ""),
        ("true".to_owned() + &"&&true".repeat(600), "at most 1000 operations"),
        ("[".to_owned() + &"1,".repeat(1500) + "1]", "at most 1000 operations"),
        ("(".repeat(48), "ends too early"),
    ] {
        let message = survives(&source).expect_err(&source);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn long_chains_of_signs_are_evaluated() {
    assert_eq!(survives(&("!".repeat(4000) + "true")), Ok(json!(true)));
    assert_eq!(survives(&("-".repeat(4001) + "params.port")), Ok(json!(-8080)));
}

#[test]
fn the_deepest_expression_that_compiles_runs_on_a_small_stack() {
    let deep = "size(".repeat(30) + "[1]" + &")".repeat(30);
    let lists = "[".repeat(47) + "1" + &"]".repeat(47);
    let sums = "1".to_owned() + &"+1".repeat(62);
    let loops = nested("[1]", 8);
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || {
            assert!(survives(&deep).is_err());
            assert!(survives(&lists).is_ok());
            assert_eq!(survives(&sums), Ok(json!(63)));
            assert_eq!(survives(&loops), Ok(json!(true)));
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn nested_loops_run_out_of_steps() {
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    assert_eq!(survives(&nested(ten, 4)), Ok(json!(true)));
    assert!(survives(&nested(ten, 7)).unwrap_err().contains("1000000 steps"));
    assert!(survives(&nested(&ten.replace('0', "params.port"), 7)).unwrap_err().contains("a request has"));
    assert!(survives(&nested(ten, 9)).unwrap_err().contains("loops are nested more than 8 deep"));
    let ranges = "lists.range(10000).all(a, lists.range(10000).all(b, a + b >= 0))";
    assert!(survives(ranges).unwrap_err().contains("a request has"));
}

#[test]
fn an_exhausted_budget_cannot_be_hidden_by_an_operator() {
    for source in [
        "lists.range(10000).exists(a, lists.range(10000).exists(b, false)) || true",
        "[1].exists(x, lists.range(10000).all(a, lists.range(10000).all(b, true))) || true",
        "[optional.of(1)].map(x, lists.range(10000).map(a, lists.range(1000)))[?0].hasValue()",
    ] {
        assert!(survives(source).unwrap_err().contains("is stopped here"), "{source}");
    }
}

#[test]
fn values_that_double_exhaust_the_counted_memory() {
    let doubled = |by: &str| {
        (0..8).fold("'0123456789'".to_owned(), |text, n| {
            format!("[{text}].map(x{n}, {by})[0]").replace('N', &n.to_string())
        })
    };
    for source in [
        doubled("xN + xN + xN + xN + xN + xN + xN + xN"),
        doubled("[xN, xN, xN, xN, xN, xN].join()"),
        doubled("xN.replace('', xN)"),
        doubled("'%s%s%s%s%s%s%s%s'.format([xN, xN, xN, xN, xN, xN, xN, xN])"),
        "lists.range(1000).map(x, lists.range(1000))".to_owned(),
        "[lists.range(10000)].map(x, x + x + x + x)[0].map(x, 'x')".to_owned(),
        "lists.range(10000).map(x, 'a').join('0123456789'.replace('', '0123456789').replace('', '0123456789'))".to_owned(),
        "[lists.range(5000)].map(x, [x, x, x, x, x, x, x, x])[0].flatten(9).flatten()".to_owned(),
        "lists.range(10000).map(x, pod)".to_owned(),
        "[lists.range(500).map(x, pod)].map(l, l.map(x, l))".to_owned(),
        "'%.100f'.format([1e300]).replace('', '%.100f'.format([1e300])).replace('', '%.100f'.format([1e300]))".to_owned(),
    ] {
        let result = survives(&source);
        assert!(result.as_ref().is_err_and(|message| message.contains("a request has")), "{source}: {result:?}");
    }
}

#[test]
fn one_budget_serves_all_expressions_of_a_request() {
    let expression =
        Expression::compile("lists.range(5000).all(x, x >= 0)", &scope(), &mut CompileBudget::new()).unwrap();
    let mut budget = Budget::new();
    with_pod(POD, |variables| {
        let runs = (0..1000).take_while(|_| expression.is_true(variables, &mut budget).is_ok()).count();
        assert!((1..100).contains(&runs), "{runs}");
        let error = Expression::compile("1", &scope(), &mut CompileBudget::new())
            .unwrap()
            .evaluate(variables, &mut budget)
            .unwrap_err();
        assert!(error.is_exhausted);
    });
}

#[test]
fn comparisons_of_large_pods_cost_steps() {
    let labels: Vec<String> = (0..5000).map(|n| format!("\"label-{n}\": \"value\"")).collect();
    let pod = format!(
        r#"{{"metadata": {{"labels": {{{}}}}}, "spec": {{"containers": [{{}}]}}}}"#,
        labels.join(",")
    );
    for source in [
        "lists.range(1000).all(x, pod == pod)",
        "lists.range(1000).all(x, pod.metadata.labels.all(k, k in pod.metadata.labels))",
        "lists.range(1000).all(x, pod.metadata.labels.map(k, k).distinct().size() > 0)",
        "lists.range(1000).all(x, sets.equivalent(pod.metadata.labels.map(k, k), pod.metadata.labels.map(k, k)))",
        "lists.range(100).map(x, pod)",
    ] {
        let expression = Expression::compile(source, &scope(), &mut CompileBudget::new()).unwrap();
        let error = with_pod(&pod, |variables| expression.evaluate(variables, &mut Budget::new()));
        assert!(error.as_ref().is_err_and(|error| error.is_exhausted), "{source}: {error:?}");
    }
}

#[test]
fn large_texts_are_not_converted_and_not_quoted_in_messages() {
    let pod =
        format!(r#"{{"metadata": {{"name": "{}"}}, "spec": {{"containers": [{{}}]}}}}"#, "9".repeat(500_000));
    for source in [
        "quantity(NAME)",
        "duration(NAME)",
        "int(NAME)",
        "double(NAME)",
        "bool(NAME)",
        "NAME.x",
        "{'a': 1}[NAME]",
    ] {
        let source = source.replace("NAME", "pod.metadata.name");
        let looped = format!("lists.range(10000).exists(x, {source} == 0) || isQuantity(pod.metadata.name)");
        for source in [source, looped] {
            let expression = Expression::compile(&source, &scope(), &mut CompileBudget::new()).unwrap();
            let result = with_pod(&pod, |variables| expression.evaluate(variables, &mut Budget::new()));
            assert!(result.is_err_and(|error| error.message.len() < 1000), "{source}");
        }
    }
    let error = evaluate(&format!("pod.{}", "a".repeat(4000))).unwrap_err();
    assert!(error.message.chars().count() < 700, "{error}");
}

#[test]
fn the_size_of_patterns_is_limited() {
    for (source, part) in [
        ("'a'.matches('(a{1000}){1000}')", "too large"),
        ("'a'.matches('(((a{100}){100}){100}){100}')", "too large"),
        ("'a'.matches('((((((((((a*)*)*)*)*)*)*)*)*)*b')", ""),
        ("lists.range(10000).all(x, !'a'.matches('b' + '{50}'))", "1000000 steps"),
        ("lists.range(10000).all(x, !'a'.matches('(a{100}){' + string(x + 1) + '}'))", "steps"),
    ] {
        let result = survives(source);
        assert!(
            result.as_ref().map_or_else(|message| message.contains(part), |_| part.is_empty()),
            "{source}: {result:?}"
        );
    }
}

#[test]
fn a_pattern_that_is_slow_on_a_large_pod_is_stopped() {
    let mut seed = 1_u32;
    let mut digit = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if seed >> 31 == 0 { '0' } else { '1' }
    };
    let text: String = (0..50_000).map(|_| digit()).collect();
    let pod = format!(r#"{{"metadata": {{"name": "{text}"}}, "spec": {{"containers": [{{}}]}}}}"#);
    for pattern in [
        "[01]*1[01]{12}[^01]",
        "1[01]{60}[^01]",
        "1[01]{500}[^01]",
        "(?:0?){200}0{200}[^01]",
        "(.*)(.*)(.*)(.*)[^01]",
        "(0|1|01|10)*[^01]",
        r"\\w{600}[^01]",
        "(?:.?){40}[^01]",
        "[^a-y]{60}[^01]",
    ] {
        let source = format!("lists.range(1000).all(x, !pod.metadata.name.matches('{pattern}'))");
        let expression = Expression::compile(&source, &scope(), &mut CompileBudget::new()).unwrap();
        let result = with_pod(&pod, |variables| expression.evaluate(variables, &mut Budget::new()));
        assert!(result.is_err_and(|error| error.is_exhausted), "{source}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_compiled_or_rejected(source in ".{0,60}") {
        let _ = survives(&source);
        let _ = Text::parse(&format!("$[[{source}]]"), &scope(), &mut CompileBudget::new());
    }

    #[test]
    fn any_words_of_cel_are_evaluated_or_rejected(words in proptest::collection::vec(proptest::sample::select(WORDS), 1..14)) {
        let _ = survives(&words.concat());
    }
}

const WORDS: &[&str] = &[
    "pod",
    ".spec",
    ".containers",
    "params",
    ".memory",
    ".wait",
    "cluster",
    "[0]",
    "[1]",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "1",
    "-1",
    "9223372036854775807",
    "0",
    "1.5",
    "1e300",
    "2u",
    "'a'",
    "'ä'",
    "'%s'",
    "b'x'",
    "null",
    "true",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " < ",
    " in ",
    " && ",
    " || ",
    " ? ",
    "!",
    "-",
    ".map(x, x)",
    ".filter(x, true)",
    ".all(x, x == 1)",
    "x",
    "?",
    ".?spec",
    ".size()",
    "size(",
    "string(",
    "int(",
    "double(",
    "quantity(",
    "duration(",
    "max(",
    ".join('-')",
    ".format([1])",
    ".split('')",
    ".substring(1)",
    ".lastIndexOf('a', 1)",
    ".replace('', 'ä')",
    ".sort()",
    ".flatten(3)",
    ".sum()",
    ".reverse()",
    ".distinct()",
    "math.abs(",
    "math.bitShiftLeft(1, 64)",
    "optional.of(",
    ".orValue(1)",
    ".mul(0.1)",
    ".asInteger()",
    ".find('a*')",
    "type(",
    "has(pod.x)",
];

#[test]
fn internal_names_cannot_be_used() {
    for source in
        ["@in(1, [1])", "`_+_`(1, 2)", "_+_(1, 2)", "'a'.@find('b')", "@not_strictly_false(true)", "#unused"]
    {
        assert!(Expression::compile(source, &scope(), &mut CompileBudget::new()).is_err(), "{source}");
    }
}

#[test]
fn patterns_of_one_profile_share_its_budget() {
    for (name, pattern) in [
        ("repeated groups", &(|n| format!("(a|b|c){{300}}x{n}")) as &dyn Fn(usize) -> String),
        ("ASCII classes", &|n| format!(r"\w{{5}}|a|x{n}")),
        ("Unicode classes", &|n| format!(r"\p{{L}}{{2}}x{n}")),
        ("many Unicode classes", &|n| format!("[{}]x{n}", r"\p{Greek}".repeat(100))),
        ("any case", &|n| format!("(?i)[{}]x{n}", r"\p{L}\P{Lu}".repeat(20))),
        ("ranges in any case", &|n| format!("(?i){}x{n}", r"[\x{0}-\x{10FFFF}]".repeat(20))),
        ("short ones", &|n| format!("{n}")),
        ("empty repetitions", &|n| format!("(?:){{1000}}{n}")),
        ("alternatives", &|n| format!("{}{n}", "a|b|".repeat(200))),
    ] {
        let mut budget = CompileBudget::new();
        let count = (0..1000).take_while(|n| Pattern::compile(&pattern(*n), &mut budget).is_ok()).count();
        assert!(count < 300 && budget.kept() <= CompileBudget::MEMORY, "{name}: {count} {budget:?}");
    }
    let mut budget = CompileBudget::new();
    for _ in 0..1000 {
        Pattern::compile("^[a-z]+$", &mut budget).unwrap();
    }
    assert!(budget.kept() < 8 << 10, "the same pattern is compiled more than once");
}

#[test]
fn expressions_of_one_profile_share_its_budget() {
    for (most, source) in [
        (2000, "1".to_owned()),
        (100, "1".to_owned() + &"+1".repeat(60)),
        (10, format!("[{}1]", "1,".repeat(900))),
        (50, "(".repeat(48) + "1" + &")".repeat(48)),
        (100, "pod".to_owned() + &".spec".repeat(60)),
        (10, "pod.".repeat(1000)),
        (10, "!".repeat(4000) + "true"),
        (100, format!("'{}'", "a".repeat(4000))),
    ] {
        // A tenth of the work keeps the test fast.
        let mut budget = CompileBudget::with_limits(CompileBudget::MEMORY, CompileBudget::WORK / 10);
        let over = |budget: &mut CompileBudget| {
            Expression::compile(&source, &scope(), budget).is_err_and(|error| error.is_over_budget)
        };
        let count = (0..10_000).take_while(|_| !over(&mut budget)).count();
        assert!(count <= most / 10, "{count} of {source}");
    }
}
