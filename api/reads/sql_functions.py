"""The functions that an analyst's query may use: those on this list, and no others.

None of them reads a file, an address, another table, a dictionary or the server's own state, waits,
or writes. What is not here is refused, also functions that later versions of ClickHouse bring.
"""

from __future__ import annotations

_OPERATORS = """
and or not xor equals notequals less greater lessorequals greaterorequals plus minus multiply divide
intdiv intdivorzero modulo modulolegacy positivemodulo negate abs sign like notlike ilike notilike
match in notin nullin notnullin between if multiif casewithexpression casewithoutexpression coalesce
ifnull nullif isnull isnotnull assumenotnull tonullable isnan isfinite isinfinite ifnotfinite least
greatest tuple untuple tupleelement array arrayelement map mapkeys mapvalues mapcontains lambda cast
_cast exists materialize identity concat bitand bitor bitxor bitnot bitshiftleft bitshiftright
bittest isdistinctfrom isnotdistinctfrom
"""
_MATHS = """
round floor ceil ceiling trunc truncate roundbankers rounddown exp exp2 exp10 log log2 log10 log1p
ln sqrt cbrt pow power sin cos tan asin acos atan pi e degrees radians gcd lcm factorial widthbucket
"""
_TYPES = """
toint8 toint16 toint32 toint64 toint128 touint8 touint16 touint32 touint64 touint128 tofloat32
tofloat64 todecimal32 todecimal64 todecimal128 tostring tofixedstring todate todate32 todatetime
todatetime64 touuid tobool toint64ornull toint64orzero touint64ornull touint64orzero
tofloat64ornull tofloat64orzero todateornull todateorzero todatetimeornull todatetimeorzero
touuidornull touuidorzero tointervalsecond tointervalminute tointervalhour tointervalday
tointervalweek tointervalmonth tointervalquarter tointervalyear totypename reinterpretasuint64
"""
_TIMES = """
now now64 today yesterday timezone toyear toquarter tomonth todayofyear todayofmonth todayofweek
tohour tominute tosecond tomillisecond tounixtimestamp tounixtimestamp64milli
fromunixtimestamp64milli fromunixtimestamp tostartofyear tostartofquarter tostartofmonth tomonday
tostartofweek tostartofday tostartofhour tostartofminute tostartofsecond tostartoffiveminutes
tostartoffifteenminutes tostartoftenminutes tostartofinterval toyyyymm toyyyymmdd toyyyymmddhhmmss
toisoweek toisoyear toweek toyearweek totimezone timezoneof datediff date_diff dateadd date_add
datesub date_sub datetrunc date_trunc adddays addhours addminutes addseconds addweeks addmonths
addyears subtractdays subtracthours subtractminutes subtractseconds subtractweeks subtractmonths
subtractyears formatdatetime parsedatetimebesteffort parsedatetimebesteffortornull age makedate
makedatetime dayname monthname timeslot timeslots tolastdayofmonth
"""
_TEXTS = """
empty notempty length lengthutf8 lower upper lowerutf8 upperutf8 lcase ucase reverse reverseutf8
substring substringutf8 substr mid left right trim trimleft trimright trimboth ltrim rtrim replace
replaceone replaceall replaceregexpone replaceregexpall position positioncaseinsensitive
positionutf8 locate multisearchany countsubstrings extract extractall extractgroups splitbychar
splitbystring splitbyregexp arraystringconcat startswith endswith format leftpad rightpad
char ascii hex unhex base64encode base64decode domain domainwithoutwww topleveldomain protocol path
pathfull querystring fragment extracturlparameter extracturlparameters cutquerystring
cuttofirstsignificantsubdomain firstsignificantsubdomain decodeurlcomponent encodeurlcomponent
jsonextractstring jsonextractint jsonextractuint jsonextractfloat jsonextractbool jsonextractraw
jsonextractarrayraw jsonextractkeys jsonextractkeysandvalues jsonextract jsonhas jsonlength jsontype
jsonextractkeysandvaluesraw isvalidjson json_value json_query json_exists visitparamextractstring
simplejsonextractstring simplejsonextractint simplejsonhas cityhash64 siphash64 xxhash64 md5 sha256
formatreadablesize formatreadablequantity formatreadabletimedelta ngramdistance soundex repeat space
"""
_ARRAYS = """
arrayjoin arraymap arrayfilter arraycount arraysum arrayavg arraymin arraymax arrayexists arrayall
arrayfirst arraylast arrayfirstindex arraylastindex arraysort arrayreversesort arrayreverse
arraydistinct arrayuniq arrayflatten arrayconcat arrayslice arraypushback arraypushfront
arraypopback arraypopfront arrayzip arrayenumerate arrayenumerateuniq arraydifference arraycumsum
arraycompact arrayresize arrayintersect arrayunion arrayfold arrayfill arraysplit arrayproduct has
hasall hasany hassubstr indexof range emptyarraystring emptyarrayuint64 mapfromarrays mapapply
mapfilter mapadd mapsubtract mapsort tuplenames
"""
_WINDOWS = """
row_number rank dense_rank percent_rank ntile lag lead laginframe leadinframe first_value last_value
nth_value cume_dist
"""
# May stand alone and with the endings of `COMBINATORS`.
_AGGREGATES = """
count sum sumwithoverflow sumkahan summap avg avgweighted min max any anylast anyheavy first_value
last_value argmin argmax uniq uniqexact uniqcombined uniqhll12 uniqtheta median medianexact quantile
quantiles quantileexact quantilesexact quantileexactinclusive quantilesexactinclusive
quantileexactexclusive quantilesexactexclusive quantiletdigest quantilestdigest quantiletiming
quantilestiming stddevpop stddevsamp varpop varsamp covarpop covarsamp corr skewpop kurtpop
grouparray groupuniqarray grouparrayinsertat grouparraysample grouparraymovingsum
grouparraymovingavg grouparraysorted groupbitand groupbitor groupbitxor topk topkweighted
sequencematch sequencecount sequencenextnode windowfunnel retention deltasum deltasumtimestamp
simplelinearregression entropy histogram exponentialmovingaverage boundingratio maxintersections
maxintersectionsposition rankcorr mannwhitneyutest studentttest welchttest
"""
COMBINATORS = (
    *("if", "array", "map", "merge", "distinct", "ordefault", "ornull", "foreach", "resample"),
    *("state", "simplestate", "argmin", "argmax"),
)
_PLAIN = frozenset(
    " ".join((_OPERATORS, _MATHS, _TYPES, _TIMES, _TEXTS, _ARRAYS, _WINDOWS)).split()
)
_AGGREGATE = frozenset(_AGGREGATES.split())
_ENDINGS_MAX = 3


def is_allowed(name: str) -> bool:
    """Whether a query may call the function; case makes no difference."""
    return _is_allowed(name.lower(), _ENDINGS_MAX)


def _is_allowed(name: str, endings: int) -> bool:
    if name in _AGGREGATE or (endings == _ENDINGS_MAX and name in _PLAIN):
        return True
    return endings > 0 and any(
        _is_allowed(name.removesuffix(ending), endings - 1)
        for ending in COMBINATORS
        if name.endswith(ending) and name != ending
    )
