//! The main walks: what users and pods do, and what the planner has written about it.
//!
//! `@` is the second, `#` a command, `|` and `!` the report; every other line is a write, equal ones in a row counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use sim::script::check;

#[test]
fn first_deploy() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        | smoke=v1
        | active=v1
        | v1 Serving 10/10 in smoke,active
        ",
    );
}

#[test]
fn smoke_then_rolling_then_retire() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        status
        promote active v2
        pass 70
        status
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        | smoke=v2 previous=v1
        | active=v1
        | v2 Serving 2/2 in smoke
        | v1 Serving 10/10 in active
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        | smoke=v2 previous=v1
        | active=v1 target=v2 Shifting v1→v2 3/5
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        | progressing
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        active -> frontend-v2
        @130
        active - frontend-v2 x5
        @159
        deploy frontend-v1=0
        deploy backend-v1=0
        | smoke=v2 previous=v1
        | active=v2 previous=v1
        | v2 Serving 10/10 in smoke,active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn flip() {
    check(
        "
        tiers v1 backend:2 frontend:2>backend
        stage active frontend color=v1
        settle
        tiers v2 backend:2 frontend:2>backend
        settle
        promote active v2
        pass 10
        status
        settle
        status
        ",
        "
        # tiers v1 backend:2 frontend:2>backend
        # stage active frontend color=v1
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=2
        active -> frontend-v1
        deploy frontend-v1=2
        # tiers v2 backend:2 frontend:2>backend
        @0
        create v2 #2
        service backend-v2
        deploy backend-v2=2
        deploy frontend-v2=2
        # promote active v2
        @0
        active + frontend-v1 x2
        active + frontend-v2 x2
        @1
        active -> Members
        @2
        active - frontend-v1 x2
        active -> frontend-v2
        @3
        active - frontend-v2 x2
        | active=v2 previous=v1
        | v2 Serving 4/4 in active
        | v1 Draining 4/4 (in no stage; whole for a quick return)
        @32
        deploy frontend-v1=0
        deploy backend-v1=0
        | active=v2 previous=v1
        | v2 Serving 4/4 in active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn rollback_in_the_middle_of_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        promote active v1
        pass 10
        status
        settle
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # promote active v1
        @78
        active + frontend-v1 x3
        @79
        active - frontend-v2 x3
        active -> frontend-v1
        @80
        active - frontend-v1 x5
        | smoke=v2 previous=v1
        | active=v1
        | v2 Serving 10/10 in smoke
        | v1 Serving 10/10 in active
        ",
    );
}

#[test]
fn rollback_after_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 160
        status
        promote active v1
        pass 10
        status
        settle
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        active -> frontend-v2
        @130
        active - frontend-v2 x5
        @159
        deploy frontend-v1=0
        deploy backend-v1=0
        | smoke=v2 previous=v1
        | active=v2 previous=v1
        | v2 Serving 10/10 in smoke,active
        | v1 Retired 0/0
        # promote active v1
        @168
        deploy backend-v1=5
        deploy frontend-v1=5
        active + frontend-v1 x5
        active + frontend-v2 x5
        @169
        active -> Members
        @170
        active - frontend-v2 x5
        active -> frontend-v1
        @171
        active - frontend-v1 x5
        | smoke=v2 previous=v1
        | active=v1 previous=v2
        | v2 Serving 10/10 in smoke
        | v1 Serving 10/10 in active
        ",
    );
}

#[test]
fn rollback_to_a_retired_color() {
    check(
        "
        tiers v1 backend:2 frontend:2>backend
        stage active frontend color=v1
        settle
        tiers v2 backend:2 frontend:2>backend
        promote active v2
        settle
        status
        promote active v1
        pass 1
        status
        settle
        status
        ",
        "
        # tiers v1 backend:2 frontend:2>backend
        # stage active frontend color=v1
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=2
        active -> frontend-v1
        deploy frontend-v1=2
        # tiers v2 backend:2 frontend:2>backend
        # promote active v2
        @0
        create v2 #2
        service backend-v2
        deploy backend-v2=2
        deploy frontend-v2=2
        active + frontend-v1 x2
        active + frontend-v2 x2
        @1
        active -> Members
        @2
        active - frontend-v1 x2
        active -> frontend-v2
        @3
        active - frontend-v2 x2
        @32
        deploy frontend-v1=0
        deploy backend-v1=0
        | active=v2 previous=v1
        | v2 Serving 4/4 in active
        | v1 Retired 0/0
        # promote active v1
        @32
        deploy backend-v1=2
        deploy frontend-v1=2
        active + frontend-v1 x2
        active + frontend-v2 x2
        @33
        active -> Members
        | active=v2 target=v1 previous=v1 Shifting v2→v1 2/2
        | v2 Serving 4/4 in active
        | v1 Serving 4/4 in active
        | progressing
        @34
        active - frontend-v2 x2
        active -> frontend-v1
        @35
        active - frontend-v1 x2
        | active=v1 previous=v2
        | v2 Ready 4/4
        | v1 Serving 4/4 in active
        ",
    );
}

#[test]
fn a_third_color_in_the_middle_of_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        tiers v3 backend:5 frontend:5>backend
        pass 5
        promote active v3
        pass 60
        status
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # tiers v3 backend:5 frontend:5>backend
        @78
        create v3 #3
        service backend-v3
        deploy backend-v3=1
        deploy frontend-v3=1
        smoke + frontend-v2
        smoke + frontend-v3
        @79
        smoke -> Members
        @80
        smoke - frontend-v2
        smoke -> frontend-v3
        @81
        smoke - frontend-v3
        # promote active v3
        @83
        deploy backend-v3=5
        deploy frontend-v3=5
        active + frontend-v3
        @84
        active - frontend-v2
        @113
        active + frontend-v3
        @114
        active - frontend-v2
        @143
        active + frontend-v3
        | smoke=v3 previous=v2
        | active=v1 target=v3 Shifting v1→v3 3/5
        | v3 Serving 10/10 in smoke,active
        | v2 Serving 10/10 in active
        | v1 Serving 10/10 in active
        | progressing
        @144
        active - frontend-v2
        @173
        active + frontend-v3
        @174
        active - frontend-v1
        deploy frontend-v2=0
        deploy backend-v2=0
        @203
        active + frontend-v3
        @204
        active - frontend-v1
        active -> frontend-v3
        @205
        active - frontend-v3 x5
        @234
        deploy frontend-v1=0
        deploy backend-v1=0
        | smoke=v3 previous=v2
        | active=v3 previous=v1
        | v3 Serving 10/10 in smoke,active
        | v2 Retired 0/0
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn a_color_that_never_becomes_ready() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        break backend-v2
        tiers v2 backend:5 frontend:5>backend
        pass 60
        status
        settle
        status
        mend backend-v2
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # break backend-v2
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        | smoke=v1 target=v2 Preparing v1→v2 0/1 (waits for color `v2`: backend 0/1 ready, frontend 0/1 ready)
        | active=v1
        | v2 Starting 0/2 in smoke (backend 0/1 ready, frontend 0/1 ready)
        | v1 Serving 10/10 in smoke,active
        | progressing
        | smoke=v1 target=v2 Preparing v1→v2 0/1 (waits for color `v2`: backend 0/1 ready, frontend 0/1 ready)
        | active=v1
        | v2 Stalled 0/2 in smoke (backend 0/1 ready, frontend 0/1 ready)
        | v1 Serving 10/10 in smoke,active
        ! color `v2` is not ready after 600s: backend 0/1 ready, frontend 0/1 ready
        # mend backend-v2
        @605
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @606
        smoke -> Members
        @607
        smoke - frontend-v1
        smoke -> frontend-v2
        @608
        smoke - frontend-v2
        | smoke=v2 previous=v1
        | active=v1
        | v2 Serving 2/2 in smoke
        | v1 Serving 10/10 in active
        ",
    );
}

#[test]
fn a_first_color_that_never_becomes_ready() {
    check(
        "
        break frontend-v1
        tiers v1 backend:1 frontend:1>backend
        stage active frontend
        pass 5
        status
        tiers v2 backend:1 frontend:1>backend
        pass 5
        status
        settle
        status
        ",
        "
        # break frontend-v1
        # tiers v1 backend:1 frontend:1>backend
        # stage active frontend
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=1
        active -> frontend-v1
        deploy frontend-v1=1
        | active=v1
        | v1 Starting 1/2 in active (frontend 0/1 ready)
        | progressing
        # tiers v2 backend:1 frontend:1>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        active -> frontend-v2
        | active=v2
        | v2 Serving 2/2 in active
        | v1 Draining 1/2 (in no stage; whole for a quick return)
        @35
        deploy frontend-v1=0
        deploy backend-v1=0
        | active=v2
        | v2 Serving 2/2 in active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn pause_resume_and_abort() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 40
        pause active
        pass 600
        status
        kill frontend-v1 member active
        pass 5
        kill frontend-v2 member active
        pass 5
        status
        resume active
        pass 31
        status
        promote active v1
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        # pause active
        | smoke=v2 previous=v1
        | active=v1 target=v2 Paused v1→v2 2/5 (paused)
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        # kill frontend-v1 member active
        @648
        active + frontend-v1
        # kill frontend-v2 member active
        @653
        active + frontend-v1
        | smoke=v2 previous=v1
        | active=v1 target=v2 Paused v1→v2 1/5 (paused)
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        # resume active
        @658
        active + frontend-v2
        @659
        active - frontend-v1
        @688
        active + frontend-v2
        @689
        active - frontend-v1
        | smoke=v2 previous=v1
        | active=v1 target=v2 Shifting v1→v2 3/5
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        | progressing
        # promote active v1
        @689
        active + frontend-v1 x3
        @690
        active - frontend-v2 x3
        active -> frontend-v1
        @691
        active - frontend-v1 x5
        | smoke=v2 previous=v1
        | active=v1
        | v2 Serving 10/10 in smoke
        | v1 Serving 10/10 in active
        ",
    );
}

#[test]
fn pods_lost_in_the_middle_of_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        kill frontend-v1 member active
        kill frontend-v2 member active
        pass 10
        status
        settle
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # kill frontend-v1 member active
        # kill frontend-v2 member active
        @78
        active + frontend-v1 x2
        | smoke=v2 previous=v1
        | active=v1 target=v2 Shifting v1→v2 2/5
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        | progressing
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        @158
        active + frontend-v2
        @159
        active - frontend-v1
        active -> frontend-v2
        @160
        active - frontend-v2 x5
        @189
        deploy frontend-v1=0
        deploy backend-v1=0
        ",
    );
}

#[test]
fn replicas_changed_in_the_middle_of_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        replicas frontend 7
        replicas backend 6
        pass 10
        status
        settle
        replicas frontend 3
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # replicas frontend 7
        # replicas backend 6
        @78
        deploy backend-v2=6
        deploy backend-v1=6
        active + frontend-v1 x2
        deploy frontend-v2=7
        deploy frontend-v1=7
        | smoke=v2 previous=v1
        | active=v1 target=v2 Shifting v1→v2 3/7
        | v2 Serving 13/13 in smoke,active
        | v1 Serving 13/13 in active
        | progressing
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        @158
        active + frontend-v2
        @159
        active - frontend-v1
        @188
        active + frontend-v2
        @189
        active - frontend-v1
        active -> frontend-v2
        @190
        active - frontend-v2 x7
        @219
        deploy frontend-v1=0
        deploy backend-v1=0
        # replicas frontend 3
        @219
        deploy frontend-v2=3
        | smoke=v2 previous=v1
        | active=v2 previous=v1
        | v2 Serving 9/9 in smoke,active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn a_chain_retires_from_its_entry() {
    check(
        "
        tiers v1 db:1 mid:1>db web:1>mid
        stage active web color=v1
        settle
        tiers v2 db:1 mid:1>db web:1>mid
        promote active v2
        settle
        ",
        "
        # tiers v1 db:1 mid:1>db web:1>mid
        # stage active web color=v1
        @0
        create v1 #1
        service db-v1
        service mid-v1
        deploy db-v1=1
        active -> web-v1
        deploy mid-v1=1
        deploy web-v1=1
        # tiers v2 db:1 mid:1>db web:1>mid
        # promote active v2
        @0
        create v2 #2
        service db-v2
        service mid-v2
        deploy db-v2=1
        deploy mid-v2=1
        deploy web-v2=1
        active + web-v1
        active + web-v2
        @1
        active -> Members
        @2
        active - web-v1
        active -> web-v2
        @3
        active - web-v2
        @32
        deploy web-v1=0
        deploy mid-v1=0
        deploy db-v1=0
        ",
    );
}

#[test]
fn a_diamond_retires_from_its_entry() {
    check(
        "
        tiers v1 d:1 b:1>d c:1>d a:1>b,c
        stage active a color=v1
        settle
        tiers v2 d:1 b:1>d c:1>d a:1>b,c
        promote active v2
        settle
        ",
        "
        # tiers v1 d:1 b:1>d c:1>d a:1>b,c
        # stage active a color=v1
        @0
        create v1 #1
        service d-v1
        service b-v1
        service c-v1
        deploy d-v1=1
        active -> a-v1
        deploy b-v1=1
        deploy c-v1=1
        deploy a-v1=1
        # tiers v2 d:1 b:1>d c:1>d a:1>b,c
        # promote active v2
        @0
        create v2 #2
        service d-v2
        service b-v2
        service c-v2
        deploy d-v2=1
        deploy b-v2=1
        deploy c-v2=1
        deploy a-v2=1
        active + a-v1
        active + a-v2
        @1
        active -> Members
        @2
        active - a-v1
        active -> a-v2
        @3
        active - a-v2
        @32
        deploy a-v1=0
        deploy b-v1=0
        deploy c-v1=0
        deploy d-v1=0
        ",
    );
}

#[test]
fn history() {
    check(
        "
        keep 8 1
        tiers v1 a
        stage active a auto
        settle
        tiers v2 a
        settle
        tiers v3 a
        settle
        tiers v4 a
        settle
        status
        ",
        "
        # keep 8 1
        # tiers v1 a
        # stage active a auto
        @0
        create v1 #1
        deploy a-v1=1
        active -> a-v1
        # tiers v2 a
        @0
        create v2 #2
        deploy a-v2=1
        active + a-v1
        active + a-v2
        @1
        active -> Members
        @2
        active - a-v1
        active -> a-v2
        @3
        active - a-v2
        @32
        deploy a-v1=0
        # tiers v3 a
        @32
        create v3 #3
        deploy a-v3=1
        active + a-v2
        active + a-v3
        @33
        active -> Members
        @34
        active - a-v2
        active -> a-v3
        @35
        active - a-v3
        @64
        deploy a-v2=0
        delete a-v1
        delete v1
        # tiers v4 a
        @64
        create v4 #4
        deploy a-v4=1
        active + a-v3
        active + a-v4
        @65
        active -> Members
        @66
        active - a-v3
        active -> a-v4
        @67
        active - a-v4
        @96
        deploy a-v3=0
        delete a-v2
        delete v2
        | active=v4 previous=v3
        | v4 Serving 1/1 in active
        | v3 Retired 0/0
        ",
    );
}

#[test]
fn foreign_objects() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        foreign service backend-v2
        foreign deployment frontend-v3
        tiers v2 backend:5 frontend:5>backend
        settle
        status
        tiers v3 backend:5 frontend:5>backend
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # foreign service backend-v2
        # foreign deployment frontend-v3
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        deploy backend-v2=1
        | smoke=v1 target=v2 Preparing v1→v2 0/1 (waits for color `v2`: frontend 0/1 ready)
        | active=v1
        | v2 Stalled 1/2 in smoke (frontend 0/1 ready)
        | v1 Serving 10/10 in smoke,active
        ! Service `backend-v2` exists and is not Rainbow's: rename or delete it, or set spec.namePrefix
        ! color `v2` is not ready after 600s: frontend 0/1 ready
        # tiers v3 backend:5 frontend:5>backend
        @605
        create v3 #3
        service backend-v3
        deploy backend-v3=1
        @635
        deploy backend-v2=0
        | smoke=v1 target=v3 Preparing v1→v3 0/1 (waits for color `v3`: frontend 0/1 ready)
        | active=v1
        | v3 Stalled 1/2 in smoke (frontend 0/1 ready)
        | v2 Retired 0/0
        | v1 Serving 10/10 in smoke,active
        ! Deployment `frontend-v3` exists and is not Rainbow's: rename or delete it, or set spec.namePrefix
        ! color `v3` is not ready after 600s: frontend 0/1 ready
        ",
    );
}

#[test]
fn a_foreign_stage() {
    check(
        "
        foreign stage smoke
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        status
        free stage smoke
        settle
        status
        ",
        "
        # foreign stage smoke
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        active -> frontend-v1
        deploy frontend-v1=5
        | smoke=- target=v1 (its Service's name is taken by an object that is not Rainbow's)
        | active=v1
        | v1 Serving 10/10 in smoke,active
        ! Service `frontend-smoke` exists and is not Rainbow's: rename or delete it, or set spec.namePrefix
        # free stage smoke
        @5
        smoke -> frontend-v1
        | smoke=v1
        | active=v1
        | v1 Serving 10/10 in smoke,active
        ",
    );
}

#[test]
fn bad_words() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v1 as other backend:5 frontend:5>backend
        settle
        status
        promote active v9
        settle
        status
        tiers v1 backend:5 frontend:5>backend
        retire v1
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v1 as other backend:5 frontend:5>backend
        | smoke=v1
        | active=v1
        | v1 Serving 10/10 in smoke,active
        ! color `v1` exists with other tiers: give spec.color a new name
        # promote active v9
        | smoke=v1
        | active=v1 (color `v9` does not exist)
        | v1 Serving 10/10 in smoke,active
        ! color `v1` exists with other tiers: give spec.color a new name
        ! stage `active` shall serve color `v9`, which does not exist: set spec.stages[active].color to one of: v1
        # tiers v1 backend:5 frontend:5>backend
        # retire v1
        | smoke=v1
        | active=v1 (color `v9` does not exist)
        | v1 Serving 10/10 in smoke,active
        ! color `v1` cannot be retired while stage `smoke` points at it
        ! stage `active` shall serve color `v9`, which does not exist: set spec.stages[active].color to one of: v1
        ",
    );
}

#[test]
fn a_retire_that_is_asked_for() {
    check(
        "
        tiers v1 backend:1 frontend:1>backend
        stage active frontend color=v1
        settle
        tiers v2 backend:1 frontend:1>backend
        settle
        promote active v2
        pass 5
        status
        retire v1
        pass 5
        status
        ",
        "
        # tiers v1 backend:1 frontend:1>backend
        # stage active frontend color=v1
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=1
        active -> frontend-v1
        deploy frontend-v1=1
        # tiers v2 backend:1 frontend:1>backend
        @0
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        # promote active v2
        @0
        active + frontend-v1
        active + frontend-v2
        @1
        active -> Members
        @2
        active - frontend-v1
        active -> frontend-v2
        @3
        active - frontend-v2
        | active=v2 previous=v1
        | v2 Serving 2/2 in active
        | v1 Draining 2/2 (in no stage; whole for a quick return)
        # retire v1
        @5
        deploy frontend-v1=0
        deploy backend-v1=0
        | active=v2 previous=v1
        | v2 Serving 2/2 in active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn too_many_colors() {
    check(
        "
        keep 2 3
        tiers v1 a
        stage active a color=v1
        settle
        tiers v2 a
        settle
        tiers v3 a
        pass 5
        status
        settle
        status
        ",
        "
        # keep 2 3
        # tiers v1 a
        # stage active a color=v1
        @0
        create v1 #1
        deploy a-v1=1
        active -> a-v1
        # tiers v2 a
        @0
        create v2 #2
        deploy a-v2=1
        # tiers v3 a
        @0
        create v3 #3
        | active=v1
        | v3 Starting 0/0 (as many colors live as spec.keep.live allows)
        | v2 Draining 1/1 (in no stage; whole for a quick return)
        | v1 Serving 1/1 in active
        ! color `v3` waits: 2 colors live, as many as spec.keep.live allows; held by v2 (draining), v1 (stage active)
        @30
        deploy a-v2=0
        deploy a-v3=1
        | active=v1
        | v3 Ready 1/1
        | v2 Retired 0/0
        | v1 Serving 1/1 in active
        ",
    );
}

#[test]
fn a_color_that_a_user_deletes() {
    check(
        "
        tiers v1 backend:1 frontend:1>backend
        stage active frontend color=v1
        settle
        tiers v2 backend:1 frontend:1>backend
        settle
        delete color v1
        settle
        status
        promote active v2
        settle
        status
        ",
        "
        # tiers v1 backend:1 frontend:1>backend
        # stage active frontend color=v1
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=1
        active -> frontend-v1
        deploy frontend-v1=1
        # tiers v2 backend:1 frontend:1>backend
        @0
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        # delete color v1
        | active=v1
        | v2 Ready 2/2
        | v1 Serving 2/2 in active (being deleted, but held by stage active: move it to another color)
        # promote active v2
        @0
        active + frontend-v1
        active + frontend-v2
        @1
        active -> Members
        @2
        active - frontend-v1
        active -> frontend-v2
        @3
        active - frontend-v2
        @4
        deploy frontend-v1=0
        deploy backend-v1=0
        delete frontend-v1
        delete backend-v1
        delete v1
        | active=v2
        | v2 Serving 2/2 in active
        ",
    );
}

#[test]
fn everything_deleted() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        delete
        settle
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # delete
        @8
        delete active
        delete smoke
        @10
        delete frontend-v1
        delete frontend-v2
        delete backend-v1
        delete backend-v2
        delete v1
        delete v2
        release
        ",
    );
}

#[test]
fn a_selector_edited_by_hand() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        edit active
        settle
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        edit active
        pass 5
        status
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # edit active
        @5
        active -> frontend-v1
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # edit active
        @78
        active -> Members
        | smoke=v2 previous=v1
        | active=v1 target=v2 Shifting v1→v2 3/5
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        | progressing
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        active -> frontend-v2
        @130
        active - frontend-v2 x5
        @159
        deploy frontend-v1=0
        deploy backend-v1=0
        | smoke=v2 previous=v1
        | active=v2 previous=v1
        | v2 Serving 10/10 in smoke,active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn the_status_lost_in_the_middle_of_a_shift() {
    check(
        "
        tiers v1 backend:5 frontend:5>backend
        stage smoke frontend auto replicas=1
        stage active frontend rolling=1/30
        settle
        pass 5
        tiers v2 backend:5 frontend:5>backend
        settle
        promote active v2
        pass 70
        forget
        crash
        status
        settle
        status
        ",
        "
        # tiers v1 backend:5 frontend:5>backend
        # stage smoke frontend auto replicas=1
        # stage active frontend rolling=1/30
        @0
        create v1 #1
        service backend-v1
        deploy backend-v1=5
        smoke -> frontend-v1
        active -> frontend-v1
        deploy frontend-v1=5
        # tiers v2 backend:5 frontend:5>backend
        @5
        create v2 #2
        service backend-v2
        deploy backend-v2=1
        deploy frontend-v2=1
        smoke + frontend-v1
        smoke + frontend-v2
        @6
        smoke -> Members
        @7
        smoke - frontend-v1
        smoke -> frontend-v2
        @8
        smoke - frontend-v2
        # promote active v2
        @8
        deploy backend-v2=5
        deploy frontend-v2=5
        active + frontend-v1 x5
        active + frontend-v2
        @9
        active -> Members
        @10
        active - frontend-v1
        @38
        active + frontend-v2
        @39
        active - frontend-v1
        @68
        active + frontend-v2
        @69
        active - frontend-v1
        # forget
        # crash
        | smoke=v2
        | active=v1 target=v2 Shifting v1→v2 3/5
        | v2 Serving 10/10 in smoke,active
        | v1 Serving 10/10 in active
        | progressing
        @98
        active + frontend-v2
        @99
        active - frontend-v1
        @128
        active + frontend-v2
        @129
        active - frontend-v1
        active -> frontend-v2
        @130
        active - frontend-v2 x5
        @159
        deploy frontend-v1=0
        deploy backend-v1=0
        | smoke=v2
        | active=v2
        | v2 Serving 10/10 in smoke,active
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn a_stage_added_and_removed() {
    check(
        "
        tiers v1 a:2
        stage active a color=v1
        settle
        tiers v2 a:2
        settle
        stage blue a color=v2
        settle
        status
        tiers v3 a:2
        settle
        remove stage blue
        settle
        status
        ",
        "
        # tiers v1 a:2
        # stage active a color=v1
        @0
        create v1 #1
        deploy a-v1=2
        active -> a-v1
        # tiers v2 a:2
        @0
        create v2 #2
        deploy a-v2=2
        # stage blue a color=v2
        @0
        blue -> a-v2
        | active=v1
        | blue=v2
        | v2 Serving 2/2 in blue
        | v1 Serving 2/2 in active
        # tiers v3 a:2
        @0
        create v3 #3
        deploy a-v3=2
        # remove stage blue
        @0
        delete blue
        @30
        deploy a-v2=0
        | active=v1
        | v3 Ready 2/2
        | v2 Retired 0/0
        | v1 Serving 2/2 in active
        ",
    );
}

#[test]
fn scaled_by_hand() {
    check(
        "
        tiers v1 a:2
        stage active a color=v1
        settle
        scale a-v1 0
        settle
        tiers v2 a:2
        promote active v2
        pass 10
        scale a-v1 0
        settle
        ",
        "
        # tiers v1 a:2
        # stage active a color=v1
        @0
        create v1 #1
        deploy a-v1=2
        active -> a-v1
        # scale a-v1 0
        @0
        deploy a-v1=2
        # tiers v2 a:2
        # promote active v2
        @0
        create v2 #2
        deploy a-v2=2
        active + a-v1 x2
        active + a-v2 x2
        @1
        active -> Members
        @2
        active - a-v1 x2
        active -> a-v2
        @3
        active - a-v2 x2
        # scale a-v1 0
        ",
    );
}

#[test]
fn two_stages_shift_at_once() {
    check(
        "
        tiers v1 a:2
        stage red a color=v1 rolling=1/10
        stage blue a color=v1 rolling=2/10
        settle
        tiers v2 a:2
        settle
        promote red v2
        promote blue v2
        settle
        status
        ",
        "
        # tiers v1 a:2
        # stage red a color=v1 rolling=1/10
        # stage blue a color=v1 rolling=2/10
        @0
        create v1 #1
        deploy a-v1=2
        red -> a-v1
        blue -> a-v1
        # tiers v2 a:2
        @0
        create v2 #2
        deploy a-v2=2
        # promote red v2
        # promote blue v2
        @0
        red + a-v1 x2
        red + a-v2
        blue + a-v1 x2
        blue + a-v2 x2
        @1
        red -> Members
        blue -> Members
        @2
        red - a-v1
        blue - a-v1 x2
        blue -> a-v2
        @3
        blue - a-v2 x2
        @10
        red + a-v2
        @11
        red - a-v1
        red -> a-v2
        @12
        red - a-v2 x2
        @41
        deploy a-v1=0
        | red=v2 previous=v1
        | blue=v2 previous=v1
        | v2 Serving 2/2 in red,blue
        | v1 Retired 0/0
        ",
    );
}

#[test]
fn back_to_an_old_color_by_the_spec() {
    check(
        "
        tiers v1 a:2
        stage active a auto
        settle
        tiers v2 a:2
        settle
        tiers v1 a:2
        settle
        status
        ",
        "
        # tiers v1 a:2
        # stage active a auto
        @0
        create v1 #1
        deploy a-v1=2
        active -> a-v1
        # tiers v2 a:2
        @0
        create v2 #2
        deploy a-v2=2
        active + a-v1 x2
        active + a-v2 x2
        @1
        active -> Members
        @2
        active - a-v1 x2
        active -> a-v2
        @3
        active - a-v2 x2
        @32
        deploy a-v1=0
        # tiers v1 a:2
        @32
        deploy a-v1=2
        active + a-v1 x2
        active + a-v2 x2
        @33
        active -> Members
        @34
        active - a-v2 x2
        active -> a-v1
        @35
        active - a-v1 x2
        @64
        deploy a-v2=0
        | active=v1 previous=v2
        | v2 Retired 0/0
        | v1 Serving 2/2 in active
        ",
    );
}
