"""The grammar's tables: rules for phrases, and the dictionary.

How to read :data:`RULES`. A line is ``HEAD | German | English | weight``. Upper case names a
phrase, lower case a word. ``[p,t]`` are features; a single letter is a variable which has the
same value wherever it occurs in the line (:data:`VARIABLES` lists the values). ``because<weil``
is an English word linked to the German word ``weil`` of the same line; a word without ``<`` is
linked to nothing. A phrase may come in pieces, separated by ``;`` where it is defined and called
``/1`` and ``/2`` where it is used: the two pieces of a verb phrase are what German calls the left
bracket and the rest. That is the one step in which this is more than a context-free grammar.
"""

from __future__ import annotations

# --------------------------------------------------------------------------------- the rules

VARIABLES: dict[str, dict[str, float]] = {
    "o": {"main": 1, "final": 1, "zu": 1},  # where the verb stands; "zu" is the infinitive clause
    "p": {"1s": 1, "3s": 3, "1p": 0.6, "3p": 1.2, "inf": 1},  # person and number of the subject
    "q": {"1s": 1, "1p": 0.6, "3p": 1.2},  # the same without the third person singular
    "t": {"pres": 3, "past": 2, "modal": 2},  # tenses that go with an adverb of time or place
    "s": {"pres": 3, "past": 2, "modal": 2, "state": 2},  # and verbs such as "know", with none
    "r": {"past": 3, "state": 2, "modal": 1},  # what one says of a thing: bought it, needs it
    "u": {"pres": 1, "past": 1, "modal": 1, "state": 1, "habit": 1, "inf": 1},
    "c": {"nom": 1, "acc": 1, "dat": 1},
    "g": {"masc": 2, "fem": 2, "neut": 2, "plur": 1},
    "h": {"masc": 1, "fem": 1, "neut": 1},  # the genders of the singular
    "d": {"def": 5, "ind": 4, "poss": 1.5, "num": 1.5},  # kinds of articles
    "k": {
        "drink": 3,
        "food": 2,
        "read": 1,
        "write": 1,
        "shop": 1,
        "thing": 2,
        "door": 1,
        "person": 3,
    },
    "i": {"drink": 3, "food": 2, "read": 1, "write": 1, "shop": 1, "thing": 2, "door": 0.5},
    "j": {"drink": 1, "thing": 2},  # what one gives or shows to somebody
}

RULES = """
# A text: one sentence, or several joined; half of them end with a full stop, as people type.
START          | S                                              | S                    | 1
START          | S .                                            | S .<.                | 1
S              | C                                              | C                    | 4
S              | C JOIN S                                       | C JOIN S             | 2
JOIN           | , und                                          | ,<, and<und          | 3
JOIN           | , aber                                         | ,<, but<aber         | 2

# A main clause, alone or with a subordinate clause behind or before it.
C              | MAIN                                           | MAIN                 | 6
C              | WEATHER                                        | WEATHER              | 0.5
C              | MAIN , denn MAIN'                              | MAIN because<denn MAIN' | 1
C              | MAIN , CONJ SUB                                | MAIN CONJ SUB        | 3
C              | CONJ SUB , VP[main,p,s]/1 SUBJ[p] VP[main,p,s]/2 | CONJ SUB ,<, SUBJ VP | 2.5
C              | wenn WHEN , VPN[main,p,habit]/1 LSUBJ[p] VPN[main,p,habit]/2 | when<wenn WHEN ,<, LSUBJ VPN | 1
C              | LSUBJ[p] VPN[main,p,habit]/1 VPN[main,p,habit]/2 , wenn WHEN | LSUBJ VPN when<wenn WHEN | 1
CONJ           | weil                                           | because<weil         | 3
CONJ           | obwohl                                         | although<obwohl      | 2

# Main clauses: the finite verb is the second constituent, whatever comes first.
MAIN           | SUBJ[p] VP[main,p,s]/1 VP[main,p,s]/2          | SUBJ VP              | 2
MAIN           | TIME[t] VP[main,p,t]/1 SUBJ[p] VP[main,p,t]/2  | TIME SUBJ VP         | 1
MAIN           | PLACE VPA[main,p,t]/1 SUBJ[p] VPA[main,p,t]/2  | PLACE SUBJ VPA       | 0.3
MAIN           | SUBJ[p] VPN[main,p,t]/1 TIME[t] VPN[main,p,t]/2 | SUBJ VPN TIME       | 1
MAIN           | SUBJ[p] VPA[main,p,t]/1 PLACE VPA[main,p,t]/2  | SUBJ VPA PLACE       | 0.4
MAIN           | SUBJ[p] VPA[main,p,t]/1 TIME[t] PLACE VPA[main,p,t]/2 | SUBJ VPA PLACE TIME | 0.4
MAIN           | TIME[t] VPA[main,p,t]/1 SUBJ[p] PLACE VPA[main,p,t]/2 | TIME SUBJ VPA PLACE | 0.4
MAIN           | SUBJ[p] VPN[main,p,habit]/1 OFTEN VPN[main,p,habit]/2 | SUBJ OFTEN VPN | 1.5
MAIN           | SUBJ[p] VPN[main,p,habit]/1 EVERY VPN[main,p,habit]/2 | SUBJ VPN EVERY | 1
MAIN           | EVERY VPN[main,p,habit]/1 SUBJ[p] VPN[main,p,habit]/2 | EVERY SUBJ VPN | 1
WEATHER        | es regnet                       | it<es is<regnet raining<regnet      | 0.5
WEATHER        | heute regnet es                 | today<heute it<es is<regnet raining<regnet | 0.3
WEATHER        | gestern hat es geregnet         | yesterday<gestern it<es rained<hat<geregnet | 0.3

# Subordinate clauses: the finite verb comes last (only a clause may follow it).
SUB            | SUBJ[p] VP[final,p,s]/2                        | SUBJ VP              | 2
SUB            | SUBJ[p] TIME[t] VPN[final,p,t]/2               | SUBJ VPN TIME        | 1
SUB            | SUBJ[p] PLACE VPA[final,p,t]/2                 | SUBJ VPA PLACE       | 0.4
SUB            | SUBJ[p] TIME[t] PLACE VPA[final,p,t]/2         | SUBJ VPA PLACE TIME  | 0.4
SUB            | SUBJ[p] OFTEN VPN[final,p,habit]/2             | SUBJ OFTEN VPN       | 1
SUB            | es regnet                       | it<es is<regnet raining<regnet      | 0.3
SUB            | es gestern geregnet hat         | it<es rained<geregnet<hat yesterday<gestern | 0.2
WHEN           | LSUBJ[p] VPN[final,p,habit]/2                  | LSUBJ VPN            | 2
WHEN           | LSUBJ[p] V[final,be,p,state]/2                 | LSUBJ V/1            | 1.5
WHEN           | es regnet                       | it<es rains<regnet                  | 0.7

# Verb phrases, in two pieces: the left bracket; everything else. VPA: an activity that has a
# place. VPN: no pronoun and no clause inside, so that an adverb may stand before it. VP: all.
VP[o,p,u]      | VPN[o,p,u]/1 ; VPN[o,p,u]/2                    | VPN                  | 8
VP[o,p,u]      | V[o,person,p,u]/1 ; PRON[acc,p] V[o,person,p,u]/2 | V/1 PRON V/2      | 1.5
VP[o,p,u]      | V[o,dat,p,u]/1 ; PRON[dat,p] V[o,dat,p,u]/2    | V/1 PRON V/2         | 0.6
VP[o,p,u]      | V[o,give,p,u]/1 ; PRON[dat,p] OBJ[j] V[o,give,p,u]/2 | V/1 PRON OBJ V/2 | 0.5
VP[o,p,u]      | V[o,k,p,u]/1 ; HEAVY[k]/1 V[o,k,p,u]/2 HEAVY[k]/2 | V/1 V/2 HEAVY | 2.5
VP[o,p,u]      | V[o,say,p,u]/1 ; V[o,say,p,u]/2 , dass SUB     | V/1 that<dass SUB    | 3
VP[o,p,u]      | V[o,try,p,u]/1 ; V[o,try,p,u]/2 , VPA[zu,inf,inf]/2 | V/1 VPA         | 0.7
VP[o,p,u]      | V[o,go,p,u]/1 ; TO V[o,go,p,u]/2 , um VPA[zu,inf,inf]/2 | V/1 TO VPA  | 1
VP[o,p,pres]   | VPN[o,p,pres]/1 ; VPN[o,p,pres]/2 und VPN'[o,p,pres]/1 VPN'[o,p,pres]/2 | VPN and<und VPN' | 1.5

VPN[o,p,u]     | VPA[o,p,u]/1 ; VPA[o,p,u]/2                    | VPA                  | 8
VPN[o,p,u]     | V[o,go,p,u]/1 ; TO V[o,go,p,u]/2               | V/1 TO               | 1.5
VPN[o,p,u]     | V[o,bring,p,u]/1 ; OBJ[j] V[o,bring,p,u]/2     | V/1 OBJ V/2          | 1
VPN[o,p,u]     | V[o,become,p,u]/1 ; V[o,become,p,u]/2          | V/1                  | 1
VPN[o,p,u]     | NOT[o,do,p,u]/1 ; NOT[o,do,p,u]/2              | NOT/1                | 1
VPN[o,p,u]     | NOT[o,be,p,u]/1 ; NOT[o,be,p,u]/2              | NOT/1                | 1
VPN[o,p,u]     | NOT[o,k,p,u]/1 ; DEF[k] NOT[o,k,p,u]/2        | NOT/1 DEF NOT/2      | 1.5

VPA[o,p,u]     | V[o,do,p,u]/1 ; V[o,do,p,u]/2                  | V/1                  | 2
VPA[o,p,u]     | V[o,k,p,u]/1 ; OBJ[k] V[o,k,p,u]/2             | V/1 OBJ V/2          | 8
VPA[o,p,u]     | V[o,dat,p,u]/1 ; TOWHOM V[o,dat,p,u]/2         | V/1 TOWHOM V/2       | 1
VPA[o,p,u]     | V[o,give,p,u]/1 ; TOWHOM OBJ[j] V[o,give,p,u]/2 | V/1 TOWHOM OBJ V/2  | 1.2
VPA[o,p,state]  | V[o,be,p,state]/1 ; V[o,be,p,state]/2          | V/1                  | 6
VPA[o,3s,state] | V[o,do,3s,gern]/1 ; gern V[o,do,3s,gern]/2    | likes<gern V/1       | 0.7
VPA[o,q,state]  | V[o,do,q,gern]/1 ; gern V[o,do,q,gern]/2      | like<gern V/1        | 0.7
VPA[o,3s,state] | V[o,drink,3s,gern]/1 ; gern MASS V[o,drink,3s,gern]/2 | likes<gern V/1 MASS | 1
VPA[o,q,state]  | V[o,drink,q,gern]/1 ; gern MASS V[o,drink,q,gern]/2   | like<gern V/1 MASS  | 1

# Relative clauses: about the one who does it (WHO), about what it is done to (WHICH).
WHO[h]         | REL[who,h] VPN[final,3s,s]/2                   | REL VPN              | 2
WHO[plur]      | REL[who,plur] VPN[final,3p,s]/2                | REL VPN              | 2
WHO[h]         | REL[who,h] TIME[t] VPN[final,3s,t]/2           | REL VPN TIME         | 1
WHO[plur]      | REL[who,plur] TIME[t] VPN[final,3p,t]/2        | REL VPN TIME         | 1
WHO[masc]      | REL[whom,masc] LSUBJ[p] V[final,person,p,s]/2  | REL LSUBJ V/1 V/2    | 1
WHICH[i,g]     | REL[which,g] LSUBJ[p] V[final,i,p,r]/2         | REL LSUBJ V/1 V/2    | 2
WHICH[i,g]     | REL[which,g] LSUBJ[p] TIME[past] V[final,i,p,past]/2 | REL LSUBJ V/1 V/2 TIME | 1
REL[who,masc]  | der                                            | who<der              | 1
REL[who,fem]   | die                                            | who<die              | 1
REL[who,neut]  | das                                            | who<das              | 1
REL[who,plur]  | die                                            | who<die              | 1
REL[whom,masc] | den                                            | whom<den             | 1
REL[which,masc] | den                                           | that<den             | 1
REL[which,fem] | die                                            | that<die             | 1
REL[which,neut] | das                                           | that<das             | 1
REL[which,plur] | die                                           | that<die             | 1

# Who does it. LSUBJ is light: without a clause of its own.
SUBJ[p]        | LSUBJ[p]                                       | LSUBJ                | 6
SUBJ[3s]       | DN[person,nom,h] , WHO[h] ,                    | DN WHO               | 0.6
SUBJ[3p]       | DN[person,nom,plur] , WHO[plur] ,              | DN WHO               | 1
LSUBJ[1s]      | ich                                            | i<ich                | 1
LSUBJ[1p]      | wir                                            | we<wir               | 1
LSUBJ[3s]      | er                                             | he<er                | 1
LSUBJ[3s]      | sie                                            | she<sie              | 1
LSUBJ[3s]      | NAME                                           | NAME                 | 1
LSUBJ[3s]      | DN[person,nom,h]                               | DN                   | 2
LSUBJ[3p]      | sie                                            | they<sie             | 1
LSUBJ[3p]      | DN[person,nom,plur]                            | DN                   | 3
LSUBJ[3p]      | NAME und DN[person,nom,h]                      | NAME and<und DN      | 0.3
NAME           | anna                                           | anna<anna            | 1
NAME           | maria                                          | maria<maria          | 1
NAME           | peter                                          | peter<peter          | 1
NAME           | paul                                           | paul<paul            | 1

# Pronouns as objects; nobody calls himself.
PRON[acc,3s]   | mich                                           | me<mich              | 1
PRON[acc,3p]   | mich                                           | me<mich              | 1
PRON[acc,p]    | dich                                           | you<dich             | 1
PRON[acc,p]    | ihn                                            | him<ihn              | 1
PRON[acc,3s]   | uns                                            | us<uns               | 1
PRON[acc,3p]   | uns                                            | us<uns               | 1
PRON[dat,3s]   | mir                                            | me<mir               | 1
PRON[dat,3p]   | mir                                            | me<mir               | 1
PRON[dat,p]    | dir                                            | you<dir              | 1
PRON[dat,p]    | ihm                                            | him<ihm              | 1
PRON[dat,p]    | ihr                                            | her<ihr              | 1

# Noun phrases: article, adjective and noun agree in case, gender and number. The dative comes in
# the singular only.
DN[k,c,g]      | DET[d,c,g] N[k,d,c,g]                          | DET N                | 3
DN[k,c,g]      | DET[d,c,g] ADJ[k,d,c,g] N[k,d,c,g]             | DET ADJ N            | 1
DN[drink,c,neut] | DET[ind,c,neut] glas POURED                  | DET glass<glas of POURED | 2
DN[drink,c,fem] | DET[ind,c,fem] tasse BREWED                   | DET cup<tasse of BREWED | 2
DEF[k]         | DET[def,acc,g] N[k,def,acc,g]                  | DET N                | 1
OBJ[k]         | DN[k,acc,g]                                    | DN                   | 1
TOWHOM         | DN[person,dat,h]                               | DN                   | 1
HEAVY[i]       | DN[i,acc,g] ; , WHICH[i,g]                     | DN WHICH             | 1
HEAVY[person]  | DN[person,acc,g] ; , WHO[g]                    | DN WHO               | 1
POURED         | wein                                           | wine<wein            | 1
POURED         | wasser                                         | water<wasser         | 1
POURED         | milch                                          | milk<milch           | 1
POURED         | apfelsaft                            | apple<apfelsaft juice<apfelsaft | 1
BREWED         | kaffee                                         | coffee<kaffee        | 1
BREWED         | tee                                            | tea<tee              | 1
MASS           | bier                                           | beer<bier            | 1
MASS           | POURED                                         | POURED               | 3
MASS           | BREWED                                         | BREWED               | 2

# When and where.
TIME[pres]     | jetzt                                          | now<jetzt            | 1
TIME[pres]     | heute                                          | today<heute          | 2
TIME[pres]     | heute abend                           | tonight<heute<abend           | 1
TIME[modal]    | heute                                          | today<heute          | 2
TIME[modal]    | morgen                                         | tomorrow<morgen      | 2
TIME[modal]    | heute abend                           | tonight<heute<abend           | 1
TIME[past]     | gestern                                        | yesterday<gestern    | 2
TIME[past]     | gestern abend            | last<gestern<abend night<gestern<abend     | 1
TIME[past]     | letzte woche                          | last<letzte week<woche        | 1
OFTEN          | oft                                            | often<oft            | 1
OFTEN          | immer                                          | always<immer         | 1
OFTEN          | manchmal                                       | sometimes<manchmal   | 1
OFTEN          | nie                                            | never<nie            | 1
EVERY          | jeden tag                                      | every<jeden day<tag  | 1
EVERY          | jeden morgen                             | every<jeden morning<morgen | 1
EVERY          | am abend                          | in<am the<am evening<abend        | 1
PLACE          | im garten                         | in<im the<im garden<garten        | 1
PLACE          | im park                           | in<im the<im park<park            | 1
PLACE          | in der küche                      | in<in the<der kitchen<küche       | 1
PLACE          | in der schule                              | at<in school<schule      | 1
PLACE          | in der arztpraxis | in<in the<der doctor's<arztpraxis office<arztpraxis | 1
PLACE          | am bahnhof            | at<am the<am train<bahnhof station<bahnhof    | 1
PLACE          | zu hause                                   | at<zu home<hause         | 1
TO             | nach hause                                 | home<nach<hause          | 2
TO             | in den garten                     | into<in the<den garden<garten     | 1
TO             | in den park                       | to<in the<den park<park           | 1
TO             | in die küche                      | into<in the<die kitchen<küche     | 1
TO             | in die schule                              | to<in school<schule      | 1
TO             | in die arztpraxis | to<in the<die doctor's<arztpraxis office<arztpraxis | 1
TO             | zum bahnhof       | to<zum the<zum train<bahnhof station<bahnhof      | 1
"""

# ------------------------------------------------------------------------------- the lexicon

# classes | gender, singular, plural | English singular, plural | which articles it takes: "my
# sister" but not "the sister", "the wine" but not "a wine" (:data:`ARTICLES`); "mein mann" and
# "meine frau" would be husband and wife, so they take no "my".
# An asterisk marks a masculine noun that takes its plural's form in every case but the nominative.
NOUNS = """
person            | masc  mann         männer       | man          men          | def ind num
person            | fem   frau         frauen       | woman        women        | def ind num
person            | neut  kind         kinder       | child        children     | def ind num poss
person            | masc  lehrer       lehrer       | teacher      teachers     | def ind num poss
person            | fem   lehrerin     -            | teacher      -            | def ind poss
person            | masc  arzt         ärzte        | doctor       doctors      | def ind num poss
person            | fem   ärztin       -            | doctor       -            | def ind poss
person            | masc* student      studenten    | student      students     | def ind num
person            | masc* junge        jungen       | boy          boys         | def ind num
person            | neut  mädchen      mädchen      | girl         girls        | def ind num
person            | masc  freund       freunde      | friend       friends      | poss
person            | fem   schwester    schwestern   | sister       sisters      | poss
person            | masc  bruder       -            | brother      -            | poss
person            | fem   nachbarin    -            | neighbour    -            | def ind poss
drink             | neut  bier         -            | beer         -            | def ind
drink             | masc  kaffee       -            | coffee       -            | def ind poss
drink             | masc  tee          -            | tea          -            | def ind poss
drink             | masc  apfelsaft    -            | apple_juice  -            | def ind
drink             | masc  wein         -            | wine         -            | def
drink             | neut  wasser       -            | water        -            | def
drink             | fem   milch        -            | milk         -            | def
food              | masc  apfel        äpfel        | apple        apples       | def ind num poss
food              | masc  kuchen       -            | cake         -            | def ind
food              | fem   suppe        -            | soup         -            | def ind poss
food              | fem   pizza        -            | pizza        -            | def ind
food              | neut  ei           eier         | egg          eggs         | def ind num
food              | neut  brot         -            | bread        -            | def
read write thing shop | neut buch      bücher       | book         books        | def ind num poss
read write thing  | masc  brief        briefe       | letter       letters      | def ind num
read shop thing   | fem   zeitung      -            | newspaper    -            | def ind
read write shop   | fem   postkarte    postkarten   | postcard     postcards    | def ind num
thing             | masc  schlüssel    schlüssel    | key          keys         | def ind poss
thing shop        | neut  fahrrad      -            | bike         -            | def ind poss
thing shop        | fem   tasche       taschen      | bag          bags         | def ind num poss
thing shop        | masc  regenschirm  -            | umbrella     -            | def ind poss
thing shop        | neut  geschenk     geschenke    | present      presents     | def ind num
door              | fem   tür          -            | door         -            | def ind
door              | fem   haustür      -            | front_door   -            | def
door              | neut  fenster      fenster      | window       windows      | def ind num
"""

# classes | German stem | English
ADJECTIVES = """
person                       | nett      | nice
person                       | müd       | tired
person                       | krank     | sick
person                       | glücklich | happy
thing shop food              | klein     | small
thing shop read              | alt       | old
thing shop read door         | neu       | new
door                         | rot       | red
read write                   | lang      | long
drink                        | kalt      | cold
drink food                   | gut       | good
"""

# classes | infinitive (prefix+verb), third person, participle, auxiliary | English base, third
# person, -ing, past; "pick/up" puts its particle behind the object | in which tenses:
# p present (is drinking), h habit (drinks), s state (knows), v past (drank), m with a modal
# verb (can drink), z with zu (to drink), g with gern (likes to drink).
VERBS = """
do     | schlafen     schläft   geschlafen   haben | sleep sleeps sleeping slept               | phvmzg
do     | arbeiten     arbeitet  gearbeitet   haben | work works working worked                 | phvmzg
do     | singen       singt     gesungen     haben | sing sings singing sang                   | phvmzg
do     | tanzen       tanzt     getanzt      haben | dance dances dancing danced               | phvmzg
become | auf+stehen   steht     aufgestanden sein  | get_up gets_up getting_up got_up          | phvmz
become | ein+schlafen schläft   eingeschlafen sein | fall_asleep falls_asleep falling_asleep fell_asleep | phvmz
drink  | trinken      trinkt    getrunken    haben | drink drinks drinking drank               | phvmzg
drink food | bestellen bestellt bestellt     haben | order orders ordering ordered             | phvmz
drink food | bezahlen bezahlt   bezahlt      haben | pay_for pays_for paying_for paid_for      | phvmz
food   | essen        isst      gegessen     haben | eat eats eating ate                       | phvmz
read   | lesen        liest     gelesen      haben | read reads reading read                   | phvmz
write  | schreiben    schreibt  geschrieben  haben | write writes writing wrote                | phvmz
drink food shop | kaufen kauft gekauft haben | buy buys buying bought                    | phvmz
bring  | mit+bringen  bringt    mitgebracht  haben | bring/along brings/along bringing/along brought/along | phvm
thing person | suchen sucht     gesucht      haben | look_for looks_for looking_for looked_for | phvmz
thing person | finden findet    gefunden     haben | find finds finding found                  | hvmz
door   | auf+machen   macht     aufgemacht   haben | open opens opening opened                 | phvmz
door   | zu+machen    macht     zugemacht    haben | close closes closing closed               | phvmz
person | an+rufen     ruft      angerufen    haben | call calls calling called                 | phvmz
person | ab+holen     holt      abgeholt     haben | pick/up picks/up picking/up picked/up     | phvmz
person | besuchen     besucht   besucht      haben | visit visits visiting visited             | phvmz
person thing | sehen  sieht     gesehen      haben | see sees seeing saw                       | svmz
person | kennen       kennt     -            haben | know knows knowing knew                   | s
person | lieben       liebt     -            haben | love loves loving loved                   | s
drink food thing | möchten möchte -          haben | would_like would_like - -                 | s
drink food thing | brauchen braucht -        haben | need needs needing needed                 | s
dat    | helfen       hilft     geholfen     haben | help helps helping helped                 | phvmz
dat    | zu+hören     hört      zugehört     haben | listen_to listens_to listening_to listened_to | phvmz
give   | geben        gibt      gegeben      haben | give gives giving gave                    | phvmz
give   | zeigen       zeigt     gezeigt      haben | show shows showing showed                 | phvmz
go     | gehen        geht      gegangen     sein  | go goes going went                        | phvmz
go     | laufen       läuft     gelaufen     sein  | run runs running ran                      | phvmz
say    | wissen       weiß      -            haben | know knows knowing knew                   | s
say    | glauben      glaubt    -            haben | think thinks thinking thought             | s
say    | hoffen       hofft     -            haben | hope hopes hoping hoped                   | s
say    | sagen        sagt      gesagt       haben | say says saying said                      | sv
try    | versuchen    versucht  versucht     haben | try tries trying tried                    | phvm
"""

# singular, plural | English after er, after wir | negated
MODALS = """
möchte möchten | would like to   | would like to | does not want to     | do not want to
will   wollen  | wants to        | want to       | does not want to     | do not want to
kann   können  | can             | can           | cannot               | cannot
muss   müssen  | must            | must          | does not have to     | do not have to
soll   sollen  | should          | should        | should not           | should not
darf   dürfen  | may             | may           | must not             | must not
"""

# how one is: German complement | English | persons. "ich bin student" has no article.
BEING = """
sein  müde       | tired      | 1s 3s 1p 3p
sein  krank      | sick       | 1s 3s 1p 3p
sein  glücklich  | happy      | 1s 3s 1p 3p
sein  student    | a student  | 1s
sein  lehrerin   | a teacher  | 1s
haben hunger     | hungry     | 1s 3s 1p 3p
haben durst      | thirsty    | 1s 3s 1p 3p
"""

# kind and English, with the weight | German, in the order masc fem neut plur, for nom, acc, dat
ARTICLES = """
def  the   3 | der die das die | den die das die | dem der dem den
def  this  1 | dieser diese dieses - | diesen diese dieses - | diesem dieser diesem -
def  these 1 | - - - diese | - - - diese | - - - diesen
ind  a     1 | ein eine ein - | einen eine ein - | einem einer einem -
poss my    1 | mein meine mein meine | meinen meine mein meine | meinem meiner meinem meinen
num  two   1 | - - - zwei | - - - zwei | - - - zwei
num  three 1 | - - - drei | - - - drei | - - - drei
num  many  1 | - - - viele | - - - viele | - - - vielen
"""

# The ending that each kind of article asks of an adjective.
ENDINGS = """
def          | e e e en                     | en e e en                    | en en en en
ind          | er e es -                    | en e es -                    | en en en -
poss         | er e es en                   | en e es en                   | en en en en
num          | - - - e                      | - - - e                      | - - - en
"""
GENDERS = ("masc", "fem", "neut", "plur")
CASES = ("nom", "acc", "dat")
PERSONS = ("1s", "3s", "1p", "3p")

# The finite forms that do not follow from infinitive and third person.
FINITE = {
    "sein": ("bin", "ist", "sind", "sind"),
    "haben": ("habe", "hat", "haben", "haben"),
    "wissen": ("weiß", "weiß", "wissen", "wissen"),
}
AM = {"1s": "am", "3s": "is", "1p": "are", "3p": "are"}
