use super::*;

#[test]
fn strings() {
    let compared = all_hold(&[
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && !'abc'.contains('x')",
        "size('πέντε') == 5 && 'πέντε'.size() == 5 && size(b'abc') == 3",
        "'tacocat'.charAt(3) == 'o' && 'πέντε'.charAt(1) == 'έ' && 'abc'.charAt(3) == ''",
        "'hello mellow'.indexOf('') == 0 && 'hello mellow'.indexOf('ello') == 1 && 'a'.indexOf('x') == -1",
        "'hello mellow'.indexOf('ello', 2) == 7 && 'ta©o©αT'.indexOf('©', 3) == 4 && 'abc'.indexOf('', 3) == 3",
        "'hello mellow'.lastIndexOf('') == 12 && 'hello mellow'.lastIndexOf('ello') == 7",
        "'hello mellow'.lastIndexOf('ello', 6) == 1 && 'ta©o©αT'.lastIndexOf('©', 3) == 2",
        "'bananananana'.lastIndexOf('nana', 7) == 6 && 'a'.lastIndexOf('xx') == -1",
        "['a', 'b'].join() == 'ab' && ['a', 'b'].join(', ') == 'a, b' && [].join('-') == ''",
        "pod.spec.containers.map(c, c.name).join(',') == 'app,log' && params.names.join() == 'ab'",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt'.upperAscii() == 'TACOCÆT'",
        "'  a b\\t'.trim() == 'a b' && pod.metadata.name.trim() == 'shop'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'hello hello'.replace('he', 'we', 0) == 'hello hello' && 'ab'.replace('', '-') == '-a-b-'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'a,b'.split(',', 0) == []",
        "'abc'.split('') == ['a', 'b', 'c'] && 'abc'.split('', 2) == ['a', 'bc'] && ''.split(',') == [''] && ''.split('') == []",
        "',a,'.split(',') == ['', 'a', ''] && 'a,b'.split(',', -1) == ['a', 'b'] && 'a,b'.split(',', 1) == ['a,b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'ta©o©αT'.substring(2, 6) == '©o©α'",
        "'abc'.substring(3) == '' && 'abc'.reverse() == 'cba'",
        "strings.quote('a\"b\\n') == '\"a\\\\\"b\\\\n\"'",
        "'it is %s: %d, %.2f, %s, %s' .format(['so', 7, 1.0, [1, 'a', null], {'k': true}]) == 'it is so: 7, 1.00, [1, a, null], {k: true}'",
        "'%b %o %x %X %x %%'.format([5, 8, 255, 255, 'ab']) == '101 10 ff FF 6162 %'",
        "'%e|%.3e|%f|%s'.format([1234.5, 0.5, 1, []]) == '1.234500e+03|5.000e-01|1.000000|[]'",
        "'%s %s'.format([params.memory, params.wait]) == '64Mi 1m30s' && '%x'.format([-255]) == '-ff'",
    ]);
    assert!(compared >= 21, "the crate knows only {compared} of them");
    all_fail(&[
        ("'abc'.charAt(4)", "charAt: the string has no place 4"),
        ("'abc'.substring(2, 1)", "ends at 1, before it begins"),
        ("'abc'.substring(-1)", "no place -1"),
        ("[1].join(',')", "join works on strings, not on an int; write .map(x, string(x))"),
        ("1.startsWith('a')", "startsWith does not work on an int with a string"),
        ("'%d'.format(['a'])", "%d does not write a string"),
        ("'%q'.format(['a'])", "there is no %q"),
        ("'%s %s'.format(['a'])", "no element 1"),
        ("'100%'.format([1])", "a lone % ends the string"),
        ("'%.999999999f'.format([1.0])", "0 to 100 digits"),
        ("pod.metadata.?name.startsWith('s')", "end an optional with .orValue"),
    ]);
}

#[test]
fn patterns() {
    all_hold(&[
        "'abc'.matches('^a.c$') && !'abc'.matches('^b') && matches('abc', 'b')",
        "params.directory.matches('^' + '/var')",
        "'a1_ 2'.matches(r'^\\w+\\s\\d$') && !'ä'.matches(r'\\w') && 'ä'.matches(r'^[^\\w]$') && 'x\\\\d'.matches(r'\\\\d')",
        "'ä-b'.matches(r'\\bb$') && '.5'.matches(r'^\\.[\\d]$') && 'a.b'.find(r'[^\\W]+') == 'a'",
        "'abc 123 def 456'.find('[0-9]+') == '123' && 'abc'.find('x') == ''",
        "'abc 123 def 456'.findAll('[0-9]+') == ['123', '456'] && 'a b c'.findAll('[a-z]', 2) == ['a', 'b']",
    ]);
    all_fail(&[("'a'.matches('(' + '')", "this is not a pattern: unclosed group")]);
}

#[test]
fn lists() {
    let compared = all_hold(&[
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [1].slice(1, 1) == []",
        "[1, [2, [3]]].flatten() == [1, 2, [3]] && [1, [2, [3]]].flatten(2) == [1, 2, 3] && [1, [2]].flatten(0) == [1, [2]]",
        "[1, 2, 2.0, 1u, 3].distinct() == [1, 2, 3] && [1, 2, 3].reverse() == [3, 2, 1]",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b'] && [].sort() == []",
        "pod.spec.containers.sortBy(c, c.image).map(c, c.name) == ['log', 'app']",
        "lists.range(3) == [0, 1, 2] && lists.range(0) == []",
        "[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted()",
        "[1, 2, 3].sum() == 6 && [1.5, 1.5].sum() == 3.0 && [].sum() == 0",
        "[quantity('1Gi'), quantity('1Gi')].sum() == quantity('2Gi') && [duration('1s'), duration('1m')].sum() == duration('61s')",
        "[3, 1, 2].max() == 3 && [3, 1, 2].min() == 1 && max(1, 2.5) == 2.5 && min([2, 1]) == 1",
        "['a', 'b', 'a'].indexOf('a') == 0 && ['a', 'b', 'a'].lastIndexOf('a') == 2 && [1].indexOf(7) == -1",
        "sets.contains([1, 2, 3], [3, 1]) && !sets.contains([1], [2]) && sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "cluster.sizes.sum() == 6 && pod.spec.containers[0].ports.map(p, p.containerPort).max() == 443",
    ]);
    assert!(compared >= 5, "the crate knows only {compared} of them");
    all_fail(&[
        ("[1, 'a'].sort()", "have no order"),
        ("[0.0 / 0.0, 1.0].sort()", "have no order"),
        ("[[1], [2]].sort()", "have no order"),
        ("[].max()", "max: the list is empty"),
        ("['a', 'b'].sum()", "sum does not add a string"),
        ("[1].slice(0, 2)", "a list of 1 has no slice from 0 to 2"),
        ("lists.range(10001)", "lists.range takes 0 to 10000"),
        ("lists.range(-1)", "lists.range takes 0 to 10000"),
    ]);
}

#[test]
fn numbers() {
    let compared = all_hold(&[
        "math.greatest(1, 5.0, 3) == 5.0 && math.least([4, 2]) == 2 && math.abs(-2) == 2 && math.abs(-1.5) == 1.5",
        "math.ceil(1.2) == 2.0 && math.floor(-1.2) == -2.0 && math.round(1.5) == 2.0 && math.trunc(-1.7) == -1.0",
        "math.sign(-3) == -1 && math.sqrt(81) == 9.0 && math.isNaN(0.0 / 0.0) && math.isInf(1.0 / 0.0) && math.isFinite(1.0)",
        "math.bitAnd(6, 3) == 2 && math.bitOr(6u, 3u) == 7u && math.bitXor(6, 3) == 5 && math.bitNot(0) == -1",
        "math.bitShiftLeft(1, 4) == 16 && math.bitShiftRight(-1, 63) == 1 && math.bitShiftLeft(1, 200) == 0",
        "int('42') == 42 && int(3.9) == 3 && int(-3.9) == -3 && int(7u) == 7 && uint(7) == 7u && uint('7') == 7u",
        "double('1.5') == 1.5 && double(2) == 2.0 && string(1.5) == '1.5' && string(1.0) == '1' && string(true) == 'true'",
        "bool('true') && !bool('false') && bytes('ab') == b'ab' && string(b'ab') == 'ab' && dyn(1) == 1",
        "base64.encode(b'hello') == 'aGVsbG8=' && string(base64.decode('aGVsbG8=')) == 'hello' && base64.decode('aGVsbG8') == b'hello'",
    ]);
    assert!(compared >= 8, "the crate knows only {compared} of them");
    all_fail(&[
        ("int('x')", "a string is not an int"),
        ("int(1e30)", "out of the range of an int"),
        ("int(0.0 / 0.0)", "out of the range of an int"),
        ("uint(-1)", "out of the range of a uint"),
        ("int(params.memory)", ".asInteger()"),
        ("bool('yes')", "neither true nor false"),
        ("string(b'\\xff')", "not UTF-8"),
        ("base64.decode('*')", "not base64"),
        ("math.abs(-9223372036854775807 - 1)", "out of range"),
        ("math.bitShiftLeft(1, -1)", "-1 is not a number of places"),
    ]);
}

#[test]
fn quantities() {
    all_hold(&[
        "quantity('1Gi') == quantity('1024Mi') && quantity(5) == quantity('5') && quantity(quantity('1')) == quantity(1)",
        "isQuantity('64Mi') && !isQuantity('64MB') && isQuantity(params.memory)",
        "params.memory + quantity('64Mi') == quantity('128Mi') && params.memory - params.memory == quantity(0)",
        "params.memory * 2 == quantity('128Mi') && 2 * params.memory == quantity('128Mi') && params.memory / 4 == quantity('16Mi')",
        "quantity('1').mul(0.1) == quantity('100m') && quantity('10') * 1.5 == quantity('15') && quantity('1').div(3) == quantity('333333334n')",
        "quantity('1').add(1) == quantity('2') && quantity('3').sub(quantity('1')) == quantity('2') && quantity('1').sub(2).sign() == -1",
        "quantity('100m') < quantity('1') && quantity('1').isGreaterThan(quantity('999m')) && quantity('1').isLessThan(quantity('2'))",
        "quantity('1').compareTo(quantity('1000m')) == 0 && quantity('1').compareTo(quantity('2')) == -1",
        "quantity('2k').asInteger() == 2000 && quantity('1').isInteger() && !quantity('1m').isInteger() && quantity('1500m').asApproximateFloat() == 1.5",
        "max(params.memory, quantity('128Mi')) == quantity('128Mi') && min(params.memory, quantity('128Mi')) == params.memory",
        "quantity(pod.spec.containers[0].resources.limits.memory) == params.memory",
        "string(params.memory) == '64Mi' && 'size=' + params.memory == 'size=64Mi' && params.memory + '/s' == '64Mi/s'",
        "params.memory in [quantity('1'), quantity('64Mi')] && [params.memory] == [quantity('65536Ki')]",
    ]);
    all_fail(&[
        ("quantity('64MB')", "is not a quantity"),
        ("quantity('1m').asInteger()", "1m is not an int"),
        ("params.memory / 0", "divides by zero"),
        ("params.memory < 5", "write quantity(…) around the number"),
        ("params.memory * params.memory", "a quantity * a quantity"),
        ("params.memory % 2", "a quantity % an int"),
        ("params.memory.mul(1e300)", "out of range"),
        ("params.memory.mul(0.0 / 0.0)", "out of range"),
        ("quantity('1').add('1')", "add does not work on a quantity with a string; write quantity(…)"),
    ]);
}

#[test]
fn durations() {
    all_hold(&[
        "duration('90s') == params.wait && params.wait + duration('30s') == duration('2m') && duration('1m') < params.wait",
        "params.wait - duration('2m') == duration('-30s') && string(params.wait) == '1m30s' && 'wait ' + params.wait == 'wait 1m30s'",
        "params.wait.getSeconds() == 90 && params.wait.getMinutes() == 1 && params.wait.getHours() == 0 && params.wait.getMilliseconds() == 90000",
        "max(params.wait, duration('1h')) == duration('1h')",
    ]);
    all_fail(&[("duration('5 minutes')", "duration"), ("params.wait * 2", "a duration * an int")]);
}
