"""A German→English corpus that the package writes itself, with exact gold alignments.

The grammar is *synchronous*: every rule has a German side and an English side, and both sides
are expanded together, so each sentence is born with its translation and with the links between
its words. Nobody had to align anything, and no link is a guess. It holds what makes translation
from German more than replacing words:

* the verb's position: second in a main clause (``heute trinkt der mann ein bier``), last in a
  subordinate one (``weil der mann ein bier trinkt``), so that English must fetch its verb from
  far away (chapters 3 to 5: this is what the bottleneck loses and what attention finds);
* words in pieces: separable verbs (``ich rufe dich an``), the participle and the infinitive at
  the end (``er hat ein bier getrunken``, ``er möchte ein bier trinken``), relative clauses that
  have moved behind the verb (``er hat das bier getrunken , das ich gekauft habe``);
* fertility: one word becomes several (``arztpraxis`` → ``doctor's office``, ``trinkt`` → ``is
  drinking``), several become one (``hat … getrunken`` → ``drank``, ``nach hause`` → ``home``),
  some come from nowhere or go nowhere (``does`` in negation, ``of`` in ``a glass of wine``, the
  commas before German clauses);
* agreement: case, gender and number in articles and adjectives, person in verbs; ``sie trinkt``
  is *she*, ``sie trinken`` is *they*, so the pronoun cannot be translated without the verb;
* context: ``er trinkt ein bier`` is *is drinking*, ``er trinkt oft ein bier`` *often drinks*;
  ``darf`` is *may*, ``darf nicht`` *must not*; ``morgen`` is *tomorrow*, ``jeden morgen`` *every
  morning*.

One German sentence has exactly one English translation, so exact match is a fair measure. The
length is drawn first, uniformly, and then a sentence of exactly that length, so every bucket of
a plot over length (chapter 4) is filled alike.

How to read :data:`RULES`. A line is ``HEAD | German | English | weight``. Upper case names a
phrase, lower case a word. ``[p,t]`` are features; a single letter is a variable which has the
same value wherever it occurs in the line (:data:`VARIABLES` lists the values). ``because<weil``
is an English word linked to the German word ``weil`` of the same line; a word without ``<`` is
linked to nothing. A phrase may come in pieces, separated by ``;`` where it is defined and called
``/1`` and ``/2`` where it is used: the two pieces of a verb phrase are what German calls the left
bracket and the rest. That is the one step in which this is more than a context-free grammar.
"""

from __future__ import annotations

import itertools
import random
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from attnbook.corpora import SentencePair

__all__ = ["LONGEST", "SHORTEST", "GrammarCorpus", "corpus", "generate", "literature", "translate"]

SHORTEST = 3
LONGEST = 60

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
"""  # noqa: E501 (one entry a line)

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
"""  # noqa: E501 (one entry a line)

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

# ------------------------------------------------------------------- from the tables to rules

# A symbol on a rule's right-hand side: ("word", position in the rule) or ("part", child, piece).
Part = tuple[int, int]
WORD = -1
# What a phrase has become: the numbers of its German words by piece, and of its English ones.
Pieces = tuple[list[list[int]], list[list[int]]]
# A derivation: a rule, and how each of its phrases was derived.
Tree = tuple["Rule", list[Any]]


@dataclass
class Rule:
    """One production, both sides. A part is ``(child, piece)`` or ``(WORD, index of a word)``."""

    head: str
    weight: float
    children: tuple[str, ...] = ()
    german: tuple[tuple[Part, ...], ...] = ()
    english: tuple[tuple[Part, ...], ...] = ()
    german_words: tuple[str, ...] = ()
    english_words: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()  # the children as numbers, given by _Grammar


def _rows(table: str) -> Iterator[list[str]]:
    """The cells of each line of a table; blank lines and comments are left out."""
    for line in table.strip().splitlines():
        if line.strip() and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


PHRASE = re.compile(r"([A-Z]+'?)(?:\[([\w,]+)\])?(?:/(\d))?$")


def _expand(head: str, german: str, english: str, weight: float) -> Iterator[Rule]:
    """One line of :data:`RULES` as plain rules: every variable takes each of its values."""

    def variables(text: str) -> set[str]:
        inside = [
            part for bracket in re.findall(r"\[([\w,]+)\]", text) for part in bracket.split(",")
        ]
        return {name for name in inside if name in VARIABLES}

    names = sorted(variables(head) | variables(german))
    free = variables(german) - variables(head)
    for values in itertools.product(*(VARIABLES[name].items() for name in names)):
        binding = {name: value for name, (value, _) in zip(names, values, strict=True)}
        if len({value in ("zu", "inf") for name, value in binding.items() if name in "opu"}) > 1:
            continue  # "zu" has an infinitive and no person, and nothing else has
        share = weight
        for name, (_, part) in zip(names, values, strict=True):
            if name in free:
                share *= part / sum(VARIABLES[name].values())
        yield _rule(_bind(head, binding), german, english, share, binding)


def _bind(symbol: str, binding: dict[str, str]) -> str:
    """``V[o,k]`` with values for the variables: ``V[main,drink]``."""
    match = PHRASE.match(symbol)
    assert match is not None, symbol
    name, features, _ = match.groups()
    name = name.rstrip("'")
    if features is None:
        return name
    values = (binding.get(feature, feature) for feature in features.split(","))
    return f"{name}[{','.join(values)}]"


def _rule(head: str, german: str, english: str, weight: float, binding: dict[str, str]) -> Rule:
    """One line of :data:`RULES` under one binding of its variables."""
    children: dict[str, int] = {}  # V, VPN' … as the English side calls them
    symbols: list[str] = []
    german_words: list[str] = []
    german_pieces: list[list[Part]] = [[]]
    for token in german.split():
        if token == ";":
            german_pieces.append([])
        elif match := PHRASE.match(token):
            name = match[1]
            if name not in children:
                children[name] = len(symbols)
                symbols.append(_bind(token, binding))
            german_pieces[-1].append((children[name], int(match[3] or 1) - 1))
        else:
            german_pieces[-1].append((WORD, len(german_words)))
            german_words.append(token)
    english_words: list[str] = []
    english_part: list[Part] = []
    links = []
    for token in english.split():
        if match := PHRASE.match(token):
            english_part.append((children[match[1]], int(match[3] or 1) - 1))
            continue
        word, *origins = token.split("<")
        for origin in origins:
            assert german_words.count(origin) == 1, (german, english)
            links.append((german_words.index(origin), len(english_words)))
        english_part.append((WORD, len(english_words)))
        english_words.append(word)
    return Rule(
        head,
        weight,
        tuple(symbols),
        tuple(map(tuple, german_pieces)),
        (tuple(english_part),),
        tuple(german_words),
        tuple(english_words),
        tuple(links),
    )


# A word with the roles it plays, one letter each: S carries the verb's sense, F is finite, N is
# "nicht", Z is "zu". Two words are linked where they share a role, so the stem and the prefix of
# a separable verb are both linked to the English verb, and only the stem to "am" and "is".
Word = tuple[str, str]


def _lexical(
    head: str, weight: float, german: Sequence[Sequence[Word]], english: Sequence[Sequence[Word]]
) -> Rule:
    """A dictionary entry: words in pieces, linked where they share a role."""
    sides = []
    for pieces in (german, english):
        count = itertools.count()
        sides.append(tuple(tuple((WORD, next(count)) for _ in piece) for piece in pieces))
    german_words = [word for piece in german for word in piece]
    english_words = [word for piece in english for word in piece]
    links = tuple(
        (i, j)
        for i, (_, left) in enumerate(german_words)
        for j, (_, right) in enumerate(english_words)
        if set(left) & set(right)
    )
    return Rule(
        head,
        weight,
        (),
        sides[0],
        sides[1],
        tuple(word for word, _ in german_words),
        tuple(word for word, _ in english_words),
        links,
    )


def _noun_rules() -> Iterator[Rule]:
    """Nouns, articles and adjectives in every case, gender and number they have."""

    def plain(head: str, german: str, english: str, weight: float = 1.0) -> Rule:
        words = [(word, "F") for word in english.split("_")]
        return _lexical(head, weight, [[(german, "F")]], [words])

    for classes, forms, translation, articles in _rows(NOUNS):
        gender, singular, plural = forms.split()
        one, many = translation.split()
        for k, c, d in itertools.product(classes.split(), CASES, articles.split()):
            oblique = plural if gender.endswith("*") and c != "nom" else singular
            if d != "num":
                yield plain(f"N[{k},{d},{c},{gender.rstrip('*')}]", oblique, one)
            if plural != "-" and d != "ind":
                dative = plural if plural[-1] in "ns" or c != "dat" else plural + "n"
                yield plain(f"N[{k},{d},{c},plur]", dative, many)
    slots = list(itertools.product(CASES, GENDERS))
    for kind, *cases in _rows(ARTICLES):
        d, english, weight = kind.split()
        for (c, g), german in zip(slots, " ".join(cases).split(), strict=True):
            if german != "-":
                yield plain(f"DET[{d},{c},{g}]", german, english, float(weight))
    for classes, stem, english in _rows(ADJECTIVES):
        for d, *cases in _rows(ENDINGS):
            for (c, g), ending in zip(slots, " ".join(cases).split(), strict=True):
                for k in classes.split() if ending != "-" else ():
                    yield plain(f"ADJ[{k},{d},{c},{g}]", stem + ending, english)


def _finite(infinitive: str, third: str, person: str) -> str:
    """The German present tense: trinke, trinkt, trinken, trinken."""
    first = re.sub("en$", "e", infinitive)
    forms = FINITE.get(infinitive, (first, third, infinitive, infinitive))
    return forms[PERSONS.index(person)]


def _verb_rules() -> Iterator[Rule]:
    """Every verb in every tense, person and position, positive and negated, with its links."""
    for classes, german, english, tenses in _rows(VERBS):
        verb, third, participle, auxiliary = german.split()
        prefix, _, stem = verb.rpartition("+")
        forms = [
            [[(word, "S") for word in piece.split("_")] for piece in form.split("/")]
            for form in english.split()
        ]
        separated: list[Word] = [(prefix, "S")] if prefix else []
        for k in classes.split():
            if "z" in tenses:
                clause = [(prefix + "zu" + stem, "ZS")] if prefix else [("zu", "Z"), (stem, "S")]
                yield from _entry(
                    f"[zu,{k},inf,inf]", 1.0, [], clause, _before([("to", "Z")], forms[0]), None
                )
            for p in PERSONS:
                now = (_finite(stem, third, p), "FS")
                for letter, tense in (("p", "pres"), ("h", "habit"), ("s", "state"), ("g", "gern")):
                    if letter in tenses:
                        sides = _present(tense, p, forms)
                        yield from _entry(f"{k},{p},{tense}]", 1.0, [now], separated, *sides)
                if "v" in tenses:
                    have = [(_finite(auxiliary, "", p), "F")]
                    yield from _entry(
                        f"{k},{p},past]", 1.0, have, [(participle, "S")], *_past(forms)
                    )
                for modal, *translations in _rows(MODALS) if "m" in tenses else ():
                    one, many = modal.split()
                    finite = (one if p in ("1s", "3s") else many, "F")
                    yield from _entry(
                        f"{k},{p},modal]",
                        1 / 6,  # there are six, and together they are as frequent as one verb
                        [finite],
                        [(prefix + stem, "S")],
                        *_modal(translations, p, forms[0]),
                    )


English = list[list[Word]]  # a verb, and what stands behind its object ("pick … up")


def _before(words: list[Word], verb: English) -> English:
    """Auxiliaries in front of a verb."""
    return [[*words, *verb[0]], *verb[1:]]


def _present(tense: str, person: str, forms: list[English]) -> tuple[English, English | None]:
    """``is drinking``, ``drinks``, ``knows`` or, after ``likes``, ``to drink``; negated."""
    base, third, ing, _ = forms
    if tense == "pres":
        am = (AM[person], "F")
        return _before([am], ing), _before([am, ("not", "N")], ing)
    if tense == "gern":
        return _before([("to", "F")], base), None
    positive = third if person == "3s" else base
    if tense == "habit":
        return positive, None
    # "would not like a beer" is not what one says.
    plain: English = [[("want", "S")]] if base[0][0][0] == "would" else base
    return positive, _before([("does" if person == "3s" else "do", ""), ("not", "N")], plain)


def _past(forms: list[English]) -> tuple[English, English]:
    """``drank``, ``did not drink``; "hat" goes with the tensed word, "hat abgeholt": picked."""
    base, _, _, past = forms
    tensed, *rest = past[0]
    positive = [[(tensed[0], "FS"), *rest], *past[1:]]
    return positive, _before([("did", "F"), ("not", "N")], base)


def _modal(translations: Sequence[str], person: str, base: English) -> tuple[English, English]:
    """``can drink``, ``cannot drink``."""
    roles = {"to": "S", "not": "N", "cannot": "FN", "does": "", "do": ""}
    positive, negative = (
        _before([(word, roles.get(word, "F")) for word in cell.split()], base)
        for cell in translations[0 if person == "3s" else 1 :: 2]
    )
    return positive, negative


def _entry(
    key: str,
    weight: float,
    left: list[Word],
    right: list[Word],
    positive: Sequence[Sequence[Word]],
    negative: Sequence[Sequence[Word]] | None,
) -> Iterator[Rule]:
    """A verb as it stands in a main clause (two brackets) and in a subordinate one (all last).

    Args:
        key: class, person and tense; the order is put before it where it is not there yet.
        weight: how often, against its neighbours.
        left: the finite verb, which a main clause puts second.
        right: separated prefix, participle or infinitive, which stays behind.
        positive: the English verb, without negation.
        negative: the same with "not"; None where the grammar does not negate it.
    """
    polarities: list[tuple[str, list[Word], Sequence[Sequence[Word]]]] = [("V", [], positive)]
    if negative is not None:
        polarities.append(("NOT", [("nicht", "N")], negative))
    for symbol, nicht, english in polarities:
        pieces = [list(english[0]), [word for piece in english[1:] for word in piece]]
        if key.startswith("["):
            yield _lexical(symbol + key, weight, [[], [*nicht, *right]], pieces)
            continue
        yield _lexical(f"{symbol}[main,{key}", weight, [left, [*nicht, *right]], pieces)
        cluster = [*right, *left]
        if right and left[0][1] == "FS":  # a prefix rejoins its verb: "an" + "ruft"
            cluster = [(right[0][0] + left[0][0], "FS")]
        yield _lexical(f"{symbol}[final,{key}", weight, [[], [*nicht, *cluster]], pieces)


def _being_rules() -> Iterator[Rule]:
    """``ist müde``, ``hat hunger``: is tired, is hungry."""
    for german, english, persons in _rows(BEING):
        verb, complement = german.split()
        state: list[Word] = [(w, "" if w == "a" else "S") for w in english.split()]
        for p in persons.split():
            left: list[Word] = [(_finite(verb, "", p), "F")]
            positive = [[(AM[p], "F"), *state]]
            # "hat keinen hunger" is another construction, which this grammar does without.
            negative = [[(AM[p], "F"), ("not", "N"), *state]] if len(state) == 1 else None
            negative = None if verb == "haben" else negative
            yield from _entry(f"be,{p},state]", 1.0, left, [(complement, "S")], positive, negative)


# ----------------------------------------------------------------- from rules to sentences


def _fruitful(rules: Sequence[Rule]) -> list[Rule]:
    """The rules that lead to words; one with a phrase that has no rule of its own does not."""
    fewer = list(rules)
    alive: list[Rule] | None = None
    while alive is None or len(fewer) < len(alive):
        alive = fewer
        heads = {rule.head for rule in alive}
        fewer = [rule for rule in alive if heads.issuperset(rule.children)]
    return fewer


class _Grammar:
    """The rules, and for every phrase how probable it is to be so many words long.

    ``inside[symbol, n]`` is the probability that the symbol becomes exactly ``n`` German words.
    With it a sentence of a wished length is drawn from the top down: first the rule, in
    proportion to its probability of being that long, then how the words are shared out.
    """

    def __init__(self, rules: Sequence[Rule], longest: int = LONGEST) -> None:
        """Drop rules that lead nowhere, make the weights probabilities, number the symbols."""
        rules = _fruitful(rules)
        heads = {rule.head for rule in rules}
        if "START" not in heads:
            raise ValueError("rules: no sentence can be made of them")
        number = {head: i for i, head in enumerate(sorted(heads))}
        self.start = number["START"]
        self.rules: list[list[Rule]] = [[] for _ in number]
        self._users: list[set[int]] = [set() for _ in number]
        for rule in rules:
            rule.ids = tuple(number[child] for child in rule.children)
            self.rules[number[rule.head]].append(rule)
            for child in rule.ids:
                self._users[child].add(number[rule.head])
        for group in self.rules:
            total = sum(rule.weight for rule in group)
            for rule in group:
                rule.weight /= total
        self._order = self._children_first()
        self._together: dict[tuple[int, ...], list[float]] = {}
        self._rule_choices: dict[tuple[int, int], tuple[list[float], list[Rule]]] = {}
        self._size_choices: dict[tuple[tuple[int, ...], int], tuple[list[float], list[int]]] = {}
        self.reach(longest)

    def _children_first(self) -> list[int]:
        """The symbols so that, but for phrases within themselves, parts come before wholes."""
        order: list[int] = []
        seen: set[int] = set()

        def visit(symbol: int) -> None:
            seen.add(symbol)
            for rule in self.rules[symbol]:
                for child in rule.ids:
                    if child not in seen:
                        visit(child)
            order.append(symbol)

        visit(self.start)
        return order

    def reach(self, longest: int) -> None:
        """Tabulate ``inside`` up to a length: go over the phrases until nothing changes.

        A phrase that contains itself adds words on the way, so this comes to an end.
        """
        self.longest = longest
        self.inside = np.zeros((len(self.rules), longest + 1))
        reached = set(self._order)
        stale = set(reached)
        while stale:
            for symbol in self._order:
                if symbol not in stale:
                    continue
                stale.remove(symbol)
                row = np.zeros(longest + 1)
                for rule in self.rules[symbol]:
                    own = len(rule.german_words)
                    row[own:] += rule.weight * self._convolve(rule.ids)[: longest + 1 - own]
                if not np.array_equal(row, self.inside[symbol]):
                    self.inside[symbol] = row
                    stale |= self._users[symbol] & reached
        self._together.clear()
        self._rule_choices.clear()
        self._size_choices.clear()

    def _convolve(self, symbols: tuple[int, ...]) -> NDArray[np.float64]:
        """Probability, by number of words, of what the symbols become together."""
        row: NDArray[np.float64] = np.eye(1, self.longest + 1)[0]
        for symbol in symbols:
            row = np.convolve(row, self.inside[symbol])[: self.longest + 1]
        return row

    def together(self, symbols: tuple[int, ...]) -> list[float]:
        """The same as a list, kept."""
        if symbols not in self._together:
            self._together[symbols] = self._convolve(symbols).tolist()
        return self._together[symbols]

    def rule_choice(self, symbol: int, words: int) -> tuple[list[float], list[Rule]]:
        """The rules by which a symbol becomes so many words, with cumulated probabilities."""
        pairs = [
            (weight, rule)
            for rule in self.rules[symbol]
            if (own := len(rule.german_words)) <= words
            and (weight := rule.weight * self.together(rule.ids)[words - own])
        ]
        choice = self._rule_choices[symbol, words] = _cumulate(pairs)
        return choice

    def size_choice(self, symbols: tuple[int, ...], words: int) -> tuple[list[float], list[int]]:
        """How many of the words the first symbol may take, with cumulated probabilities."""
        first, rest = self.together(symbols[:1]), self.together(symbols[1:])
        pairs = [
            (share, size)
            for size in range(words + 1)
            if (share := first[size] * rest[words - size])
        ]
        choice = self._size_choices[symbols, words] = _cumulate(pairs)
        return choice

    def draw(self, rng: random.Random, words: int) -> SentencePair:
        """One sentence of exactly ``words`` German words, with its translation and links."""
        uniform = rng.random
        rule_choices, size_choices = self._rule_choices, self._size_choices

        @no_type_check  # called forty times a sentence, too often for the tests' run-time checks
        def grow(symbol: int, words: int) -> Tree:
            cumulative, rules = rule_choices.get((symbol, words)) or self.rule_choice(symbol, words)
            rule = rules[bisect(cumulative, uniform() * cumulative[-1], hi=len(rules) - 1)]
            left = words - len(rule.german_words)
            grown = []
            for k, child in enumerate(rule.ids):
                size = left
                if k + 1 < len(rule.ids):
                    key = (rule.ids[k:], left)
                    shares, sizes = size_choices.get(key) or self.size_choice(*key)
                    size = sizes[bisect(shares, uniform() * shares[-1], hi=len(sizes) - 1)]
                left -= size
                grown.append(grow(child, size))
            return rule, grown

        return _write(grow(self.start, words))


def _write(tree: Tree) -> SentencePair:
    """Read a derivation off in both languages, and carry its links along."""
    german_words: list[str] = []
    english_words: list[str] = []
    links: list[tuple[int, int]] = []

    @no_type_check  # as above
    def pieces_of(tree: Tree) -> Pieces:
        """The phrase's pieces on both sides, as numbers of words."""
        rule, children = tree
        i0, j0 = len(german_words), len(english_words)
        german_words.extend(rule.german_words)
        english_words.extend(rule.english_words)
        links.extend([(i0 + i, j0 + j) for i, j in rule.links])
        if not children:
            return (
                [[i0 + index for _, index in piece] for piece in rule.german],
                [[j0 + index for _, index in piece] for piece in rule.english],
            )
        parts = [pieces_of(child) for child in children]
        sides: Pieces = ([], [])
        for side, pieces, base in ((0, rule.german, i0), (1, rule.english, j0)):
            for piece in pieces:
                numbers: list[int] = []
                for child, index in piece:
                    if child == WORD:
                        numbers.append(base + index)
                    else:
                        numbers += parts[child][side][index]
                sides[side].append(numbers)
        return sides

    (german,), (english,) = pieces_of(tree)
    source_at = {number: i for i, number in enumerate(german)}
    target_at = {number: j for j, number in enumerate(english)}
    source = tuple([german_words[number] for number in german])
    target = [english_words[number] for number in english]
    return _spell(source, target, {(source_at[i], target_at[j]) for i, j in links})


def _cumulate(pairs: list[tuple[float, Any]]) -> tuple[list[float], list[Any]]:
    """Weights, summed up as they go, and the things they belong to."""
    return list(accumulate(weight for weight, _ in pairs)), [thing for _, thing in pairs]


def _spell(source: tuple[str, ...], target: list[str], links: set[tuple[int, int]]) -> SentencePair:
    """English spelling after the grammar is done: "a apple" → "an apple", "i would" → "i'd".

    "i'd" is one token, as in :func:`attnbook.vocabulary.tokenize`, and keeps the links of both
    its words: "ich" and "möchte" are its origins. "i would not like" stays as it is.
    """
    words: list[str] = []
    position = []
    for j, word in enumerate(target):
        if word == "would" and target[j + 1] == "like" and j and target[j - 1] in PRONOUNS:
            words[-1] += "'d"
        elif word[0] in "aeiou" and words and words[-1] == "a":
            words[-1] = "an"
            words.append(word)
        else:
            words.append(word)
        position.append(len(words) - 1)
    return SentencePair(source, tuple(words), frozenset((i, position[j]) for i, j in links))


PRONOUNS = frozenset({"i", "he", "she", "we", "they"})


def _rules() -> list[Rule]:
    """Every rule and every dictionary entry."""
    phrases = [
        rule
        for head, german, english, weight in _rows(RULES)
        for rule in _expand(head, german, english, float(weight))
    ]
    return [*phrases, *_noun_rules(), *_verb_rules(), *_being_rules()]


# Where a phrase's pieces stand in a sentence, from a word up to but not including another; None
# for a piece without words.
Spans = tuple[tuple[int, int] | None, ...]


class _Chart:
    """All phrases of the grammar that a German sentence contains, each with one derivation.

    Phrases are combined to larger ones until nothing new is found. Only rules whose words occur
    in the sentence take part, which leaves few.
    """

    def __init__(self, rules: Sequence[Rule], words: tuple[str, ...]) -> None:
        present = set(words)
        alive = _fruitful([rule for rule in rules if present.issuperset(rule.german_words)])
        self.words = words
        self.found: dict[str, dict[Spans, Tree]] = {}
        grows = True
        while grows:
            grows = False
            for rule in alive:
                known = self.found.setdefault(rule.head, {})
                for spans, children in list(self._matches(rule)):
                    if spans not in known:
                        known[spans] = (rule, [self.found[c][at] for c, at in children])
                        grows = True

    def _matches(self, rule: Rule) -> Iterator[tuple[Spans, list[tuple[str, Spans]]]]:
        """Every way in which the rule's pieces, laid side by side, are found in the sentence."""
        parts = [(n, part) for n, piece in enumerate(rule.german) for part in piece]

        @no_type_check  # as in draw
        def lay(
            k: int, spans: list[tuple[int, int] | None], chosen: dict[int, Spans]
        ) -> Iterator[tuple[Spans, list[tuple[str, Spans]]]]:
            if k == len(parts):
                yield tuple(spans), [(c, chosen[n]) for n, c in enumerate(rule.children)]
                return
            n, (child, index) = parts[k]
            if child == WORD:
                choices: Iterator[tuple[tuple[int, int] | None, dict[int, Spans]]] = (
                    ((at, at + 1), chosen)
                    for at, word in enumerate(self.words)
                    if word == rule.german_words[index]
                )
            elif child in chosen:
                choices = iter([(chosen[child][index], chosen)])
            else:
                choices = (
                    (where[index], chosen | {child: where})
                    for where in self.found.get(rule.children[child], ())
                )
            for span, now in choices:
                last = spans[n]
                if span is None:
                    joined = last
                elif last is None:
                    joined = span
                elif last[1] == span[0]:
                    joined = (last[0], span[1])
                else:
                    continue
                yield from lay(k + 1, [*spans[:n], joined, *spans[n + 1 :]], now)

        found: Iterator[tuple[Spans, list[tuple[str, Spans]]]]
        found = lay(0, [None] * len(rule.german), {})
        return found


@lru_cache(maxsize=1)
def _all_rules() -> tuple[Rule, ...]:
    """The rules, made at the first use and kept."""
    return tuple(_rules())


@lru_cache(maxsize=1)
def _grammar() -> _Grammar:
    """The compiled grammar, made at the first use and kept."""
    return _Grammar(_all_rules())


# ------------------------------------------------------------------------------- for users


def _sentences(rng: random.Random, shortest: int, longest: int) -> Iterator[SentencePair]:
    """Endless sentences; each length is as frequent as any other."""
    grammar = _grammar()
    for name, value in (("shortest", shortest), ("longest", longest)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name}: expected a whole number of words, got {value!r}")
    if longest > grammar.longest:
        grammar.reach(longest)
    least = int(np.flatnonzero(grammar.inside[grammar.start])[0])
    if shortest < least:
        raise ValueError(
            f"shortest: the grammar's shortest sentence has {least} words, got {shortest}"
        )
    if longest < shortest:
        raise ValueError(f"longest: {longest} is less than shortest, {shortest}")
    while True:
        yield grammar.draw(rng, rng.randint(shortest, longest))


def generate(
    count: int, seed: int = 0, shortest: int = SHORTEST, longest: int = LONGEST
) -> list[SentencePair]:
    """Draw sentence pairs from the grammar, with gold links.

    The German length in words, punctuation included, is uniform between ``shortest`` and
    ``longest``; the English side is up to a third shorter or longer. A short sentence may come
    more than once, and may come under another seed too: for data that are split into training
    and test, use :func:`corpus`.

    Args:
        count: how many pairs.
        seed: the same seed gives the same pairs, on every machine.
        shortest: least number of German words.
        longest: greatest number of German words.

    Raises:
        ValueError: a negative count, or lengths that the grammar cannot serve.

    >>> pair = generate(1, seed=1, shortest=6, longest=6)[0]
    >>> len(pair.source)
    6
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"count: expected a number of pairs, 0 or more, got {count!r}")
    return list(itertools.islice(_sentences(random.Random(seed), shortest, longest), count))


def translate(words: Sequence[str]) -> SentencePair | None:
    """The grammar's own translation of a German sentence, with its links.

    For a sentence of one's own: what a model trained on this corpus should say, and where it
    should look.

    Args:
        words: a German sentence, as :func:`attnbook.vocabulary.tokenize` cuts it.

    Returns:
        None for a sentence that the grammar does not contain.

    Raises:
        ValueError: a string in place of words.

    >>> " ".join(translate("weil er müde ist , singt er nicht".split()).target)
    'because he is tired , he is not singing'
    """
    if isinstance(words, str):
        raise ValueError(f"words: expected a list of words, got {words!r}; tokenize it first")
    sentence = tuple(words)
    tree = _Chart(_all_rules(), sentence).found.get("START", {}).get(((0, len(sentence)),))
    return None if tree is None else _write(tree)


LITERATURE = """
ich möchte ein bier | i'd like a beer | 0-0 1-0 1-1 2-2 3-3
ich möchte ein bier trinken | i'd like to drink a beer | 0-0 1-0 1-1 4-2 4-3 2-4 3-5
ich bin student | i am a student | 0-0 1-1 2-3
heute trinkt der mann ein bier | today the man is drinking a beer | 0-0 2-1 3-2 1-3 1-4 4-5 5-6
ich rufe dich an | i am calling you | 0-0 1-1 1-2 3-2 2-3
der mann hat ein bier getrunken | the man drank a beer | 0-0 1-1 2-2 5-2 3-3 4-4
"""


def literature() -> list[SentencePair]:
    """The sentences that the literature explains attention with, aligned by hand.

    "Ich möchte ein Bier" is the one most blog notes use; "je suis étudiant", which is French, is
    here "ich bin student". All of them are sentences of the grammar too, with the same links.
    """
    pairs = []
    for german, english, links in _rows(LITERATURE):
        linked = (link.split("-") for link in links.split())
        pairs.append(
            SentencePair(
                tuple(german.split()),
                tuple(english.split()),
                frozenset((int(i), int(j)) for i, j in linked),
            )
        )
    return pairs


@dataclass(frozen=True)
class GrammarCorpus:
    """Three lists of pairs of which no German sentence is in two."""

    train: list[SentencePair]
    val: list[SentencePair]
    test: list[SentencePair]


def corpus(
    train: int = 20_000,
    val: int = 500,
    test: int = 1_000,
    seed: int = 0,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> GrammarCorpus:
    """Training, validation and test pairs, disjoint by German sentence, each sentence once.

    The sentences of :func:`literature` open the training pairs (whatever ``shortest`` and
    ``longest`` say) and are in no other list. Within a list every sentence is different, so the
    shortest lengths, of which there are few, are a little rarer than the others.

    Args:
        train: number of training pairs.
        val: number of validation pairs.
        test: number of test pairs.
        seed: the same seed gives the same corpus.
        shortest: least number of German words.
        longest: greatest number of German words.

    Raises:
        ValueError: a negative number of pairs, lengths that the grammar cannot serve, or more
            pairs than it has sentences of these lengths.
    """
    for name, value in (("train", train), ("val", val), ("test", test)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name}: expected a number of pairs, 0 or more, got {value!r}")
    opening = literature()
    seen = {pair.source for pair in opening}
    opening = opening[:train]
    wanted = train - len(opening) + val + test
    fresh: list[SentencePair] = []
    in_vain = 0
    sentences = _sentences(random.Random(seed), shortest, longest)
    while len(fresh) < wanted:
        pair = next(sentences)
        if pair.source not in seen:
            seen.add(pair.source)
            fresh.append(pair)
            in_vain = 0
            continue
        in_vain += 1
        if in_vain == 500:
            raise ValueError(
                f"train, val, test: the grammar has hardly more than {len(fresh)} sentences of "
                f"{shortest} to {longest} words; ask for fewer pairs or for longer sentences"
            )
    # Test and validation first, so that they stay the same when more training pairs are wanted.
    return GrammarCorpus(
        train=opening + fresh[test + val :], val=fresh[test : test + val], test=fresh[:test]
    )
